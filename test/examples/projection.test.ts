import test from "ava";
import { readRealEvents } from "../support/real-events.ts";
import { surviveProjection } from "../support/survive-projection.ts";

test("projection - in TypeScript: no event is doubled or missing, though it is killed, and it can be made anew", async (t) => {
  const lines = readRealEvents(t);
  if (lines === undefined) return;
  t.timeout(240_000);
  const args = ["--conditions=message-vault-source", "examples/projection/projection.ts"];
  await surviveProjection(t, lines, { command: process.execPath, args });
});
