import test from "ava";
import type { Bar } from "../../bench/bars.ts";
import type { Group } from "../../bench/measurement.ts";
import { selectGroups } from "../../bench/selection.ts";

function createGroup(name: string, measurements: readonly string[], fullOnly = false): Group {
  return { name, measurements, fullOnly, prepare: () => Promise.resolve([]) };
}

const groups = [createGroup("publish", ["swallow", "disk", "store"]), createGroup("grid", ["point"], true)];
const bars: Bar[] = [{ name: "speed", figure: "mbPerSecond", measured: "store", limits: ["swallow"], target: 1 }];

function select(only: readonly string[], full = false): Record<string, string[]> {
  const selected = selectGroups(groups, bars, only, full);
  return Object.fromEntries(selected.map(({ group, wanted }) => [group.name, [...wanted]]));
}

test("selection - everything but what takes long, where nothing is named", (t) => {
  t.deepEqual(select([]), { publish: ["swallow", "disk", "store"] });
  t.deepEqual(select([], true), { publish: ["swallow", "disk", "store"], grid: ["point"] });
});

test("selection - a bar brings its limits, in the order of the group", (t) => {
  t.deepEqual(select(["speed"]), { publish: ["swallow", "store"] });
});

test("selection - groups and measurements go by name, those that take long too", (t) => {
  t.deepEqual(select(["grid", "disk"]), { publish: ["disk"], grid: ["point"] });
});

test("selection - an unknown name is refused with those that there are", (t) => {
  t.throws(() => select(["spead"]), { message: /nothing is called 'spead'.*speed, publish, grid/ });
});
