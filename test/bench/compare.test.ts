import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "ava";
import { readBaseline, saveBaseline } from "../../bench/baseline.ts";
import { compareWithBaseline, differ, formatComparison } from "../../bench/compare.ts";
import { spreadOf } from "../../bench/statistics.ts";
import { createReport } from "../support/create-bench-report.ts";

test("comparison - a median that moved by more than quartiles and runs differ is a change", (t) => {
  const before = spreadOf([100, 101, 99, 100, 102]);
  t.true(differ(before, spreadOf([80, 81, 79, 80, 82])));
  t.true(differ(before, spreadOf([120, 121, 119, 120, 122])));
});

test("comparison - what lies within the rounds' noise is none", (t) => {
  t.false(differ(spreadOf([100, 60, 140, 80, 120]), spreadOf([80, 40, 120, 60, 100])));
});

test("comparison - a small difference is none, however even the rounds", (t) => {
  t.false(differ(spreadOf([100, 100, 100]), spreadOf([95, 95, 95])));
  t.true(differ(spreadOf([100, 100, 100]), spreadOf([90, 90, 90])));
});

test("comparison - less throughput is worse, less time is better", (t) => {
  const before = createReport({ vault: { mbPerSecond: [100, 101], p50Ms: [10, 10.1] } });
  const after = createReport({ vault: { mbPerSecond: [50, 51], p50Ms: [5, 5.1] } });
  const { changes, unchanged, sameMachine } = compareWithBaseline(after, before);
  t.true(sameMachine);
  t.is(unchanged, 0);
  t.deepEqual(
    changes.map(({ what, verdict, factor }) => [what, verdict, factor]),
    [
      ["vault, MB/s", "worse", 0.502],
      ["vault, p50 ms", "better", 0.502],
    ],
  );
});

test("comparison - of ratios, the bar says which direction is better", (t) => {
  const before = createReport({ publish_file: { mbPerSecond: [80, 80] }, ...limits });
  const after = createReport({ publish_file: { mbPerSecond: [40, 40] }, ...limits });
  const { changes } = compareWithBaseline(after, before);
  const ratio = changes.find(({ what }) => what === "ratio publish_file");
  t.is(ratio?.verdict, "worse");
  t.is(ratio?.factor, 0.5);
});

const limits = { swallow: { mbPerSecond: [100, 100] }, raw_page_writes_file: { mbPerSecond: [200, 200] } };

test("comparison - with another machine is of ratios alone", (t) => {
  const before = createReport({ publish_file: { mbPerSecond: [80, 80] }, ...limits });
  const other = { ...before, machine: { ...before.machine, cpu: "another" } };
  const comparison = compareWithBaseline(createReport({ publish_file: { mbPerSecond: [80, 80] }, ...limits }), other);
  t.false(comparison.sameMachine);
  t.is(comparison.unchanged, 1);
  t.regex(formatComparison(comparison), /Nothing differs .* of 1 figures; that was another machine/);
});

test("comparison - is told with what got worse first", (t) => {
  const before = createReport({ vault: { mbPerSecond: [100, 101], p50Ms: [10, 10.1] } });
  const after = createReport({ vault: { mbPerSecond: [150, 151], p50Ms: [50, 51] } });
  const text = formatComparison(compareWithBaseline(after, before));
  t.regex(text, /p50 ms +worse[^]*MB\/s +better/);
});

test("baseline - what is stored replaces what was measured again, and keeps the rest", async (t) => {
  const directory = await mkdtemp(path.join(tmpdir(), "bench-baseline-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, "baseline.json");
  t.is(await readBaseline(file), undefined);
  await saveBaseline(file, createReport({ a: { mbPerSecond: [1] }, b: { mbPerSecond: [2] } }));
  await saveBaseline(file, createReport({ b: { mbPerSecond: [3] } }));
  const { figures } = (await readBaseline(file))!;
  t.is(figures["a"]?.mbPerSecond?.median, 1);
  t.is(figures["b"]?.mbPerSecond?.median, 3);
  t.true((await readFile(file, "utf8")).endsWith("}\n"));
});
