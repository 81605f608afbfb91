import test from "ava";
import { drawBarChart } from "../../bench/plot/bar-chart.ts";
import { drawLineChart } from "../../bench/plot/line-chart.ts";
import { formatTick, linearScale, logScale } from "../../bench/plot/scale.ts";
import { element, picture, text } from "../../bench/plot/svg.ts";
import { drawPlots } from "../../bench/plots.ts";
import { createReport } from "../support/create-bench-report.ts";

test("svg - what is text stays text", (t) => {
  t.is(
    String(text(1, 2, `a < b & "c"`, "end")),
    '<text x="1" y="2" text-anchor="end">a &lt; b &amp; &quot;c&quot;</text>',
  );
  t.is(String(element("g", { id: '"><script>' })), '<g id="&quot;&gt;&lt;script&gt;"/>');
});

test("svg - numbers are short", (t) => {
  t.is(String(element("circle", { r: 1 / 3 })), '<circle r="0.33"/>');
});

test("linear scale - ends at a round number above the greatest value", (t) => {
  const { ticks, place } = linearScale(93, 0, 100);
  t.deepEqual(ticks, [0, 20, 40, 60, 80, 100]);
  t.is(place(50), 50);
});

test("linear scale - a value on a mark is the end", (t) => {
  t.deepEqual(linearScale(0.5, 0, 1).ticks, [0, 0.1, 0.2, 0.3, 0.4, 0.5]);
});

test("linear scale - has an end where all is 0", (t) => {
  t.true(Number.isFinite(linearScale(0, 0, 100).place(0)));
});

test("log scale - goes over whole powers of ten, in either direction", (t) => {
  const { ticks, place } = logScale(3, 4000, 100, 0);
  t.deepEqual(ticks, [1, 10, 100, 1000, 10_000]);
  t.is(place(100), 50);
  t.deepEqual(logScale(1, 1, 0, 1).ticks, [1, 10]);
});

test("ticks - are short", (t) => {
  t.deepEqual([0.5, 20, 1000, 2_500_000].map(formatTick), ["0.5", "20", "1,000", "2.5M"]);
});

test("bar chart - shows value, quartiles and target of each row within the picture", (t) => {
  const row = { label: "publish", value: 0.8, q1: 0.7, q3: 0.9, color: "#123", target: { value: 1.2, label: "≥ 1.2" } };
  const svg = drawBarChart("Bars", "ratio", [{ rows: [row] }]);
  t.true(svg.includes(">0.8  (≥ 1.2)</text>"));
  t.true(svg.includes(">publish</text>"));
  t.true(svg.includes(">ratio</text>"));
  for (const [, x] of svg.matchAll(/ x[12]?="([\d.]+)"/g)) t.true(Number(x) <= 860, x);
});

test("line chart - leaves out what a logarithmic axis cannot show", (t) => {
  const axis = { label: "n", log: true };
  const points = [
    [0, 5],
    [1, 5],
    [100, 50],
  ] as const;
  const svg = drawLineChart("Lines", axis, axis, [{ label: "vault", color: "#123", points }]);
  t.is(svg.match(/<circle/g)?.length, 2);
  t.false(svg.includes("NaN"));
});

test("plots - are drawn of what was measured, and of nothing else", (t) => {
  t.deepEqual([...drawPlots(createReport({})).keys()], []);
  const report = createReport(
    {
      publish_file: { mbPerSecond: [80] },
      swallow: { mbPerSecond: [100] },
      raw_page_writes_file: { mbPerSecond: [200] },
      tail_1000: { p50Ms: [1], p90Ms: [2], p99Ms: [3], p999Ms: [4] },
      fanout_100: { reachedAllMs: [5] },
      grid_250b_x100_p16_pipelined: { mbPerSecond: [50] },
    },
    {
      in: [
        [1e6, 100],
        [2e6, 90],
      ],
    },
  );
  const plots = drawPlots(report);
  const names = ["bars.svg", "throughput.svg", "tail-latency.svg", "fan-out.svg", "publish-grid.svg", "scale.svg"];
  t.deepEqual([...plots.keys()], names);
  for (const [name, svg] of plots) {
    t.regex(svg, /^<svg [^]*<\/svg>\n$/, name);
    t.notRegex(svg, /NaN|Infinity|undefined/, name);
  }
});

test("picture - says what it shows to those who do not see it", (t) => {
  t.true(picture(10, 10, "A & B").includes("<title>A &amp; B</title>"));
});
