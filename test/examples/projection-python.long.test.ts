import test from "ava";
import { providePython } from "../../scripts/interop-parts.ts";
import { readRealEvents } from "../support/real-events.ts";
import { surviveProjection } from "../support/survive-projection.ts";

test("projection - in Python: no event is doubled or missing, though it is killed, and it can be made anew", async (t) => {
  const lines = readRealEvents(t);
  if (lines === undefined) return;
  t.timeout(240_000);
  const { executable, generated } = await providePython();
  const args = ["examples/projection/projection.py"];
  await surviveProjection(t, lines, { command: executable, args, env: { PYTHONPATH: generated } });
});
