import { tmpdir } from "node:os";
import test from "ava";
import { scaleGroup } from "../../bench/groups/scale.ts";
import type { BenchOptions } from "../../bench/options.ts";
import { parseOptions } from "../../bench/options.ts";
import { chooseSettings } from "../../bench/settings.ts";

function parse(...args: string[]): BenchOptions {
  const options = parseOptions(args);
  if (options === "help") throw new Error("that is help");
  return options;
}

test("options - five rounds of everything but what takes long, where nothing is said", (t) => {
  const { command, rounds, seconds, full, only, records } = parse();
  t.like({ command, rounds, seconds, full, records }, { command: "bench", rounds: 5, seconds: 1, full: false });
  t.is(records, 100_000_000);
  t.deepEqual(only, []);
});

test("options - names go by commas, sizes have units", (t) => {
  t.deepEqual(parse("--only", "tail,publish_file").only, ["tail", "publish_file"]);
  t.is(parse("--bytes", "1.5GB").bytes, 1_500_000_000);
  t.is(parse("memory").bytes, 5_000_000_000);
  t.is(parse("memory", "--quick").bytes, 500_000_000);
});

for (const args of [["speed"], ["memory", "startup"], ["--rounds", "0"], ["--bytes", "many"], ["--seconds", "-1"]]) {
  test(`options - ${args.join(" ")} is refused`, (t) => {
    t.throws(() => parse(...args));
  });
}

test("scale - says how much room is missing, and what to do", (t) => {
  const settings = chooseSettings(parse("--records", "1000000000000000"));
  t.regex(scaleGroup.findMissing?.(settings, tmpdir()) ?? "", /need 280000000\.0 GB in .* GB are free; use --records/);
  t.is(scaleGroup.findMissing?.({ ...settings, scaleRecords: 1 }, tmpdir()), undefined);
});
