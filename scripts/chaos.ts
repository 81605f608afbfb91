/**
 * `npm run chaos -- --minutes N --seed S`: three nodes on one Azurite under load, that are killed, frozen and cut off
 * over and over; then every acknowledged record must be where it was said to be. Ends with 1 where it is not.
 */
import { parseArgs } from "node:util";
import { createScope } from "../test/support/create-scope.ts";
import { runChaos } from "../test/support/run-chaos.ts";
import type { ChaosPlan, ChaosSummary } from "../test/support/run-chaos.ts";

const usage = `npm run chaos -- [--minutes N] [--seed S] [--kills N] [--freezes N] [--transfers N] [--streams N] [--json]

  --minutes N     how long: 5 without it, and without numbers of disturbances
  --seed S        of all random choices; printed, and another one each time without it
  --kills N, --freezes N, --transfers N
                  SIGKILLs, SIGSTOPs and transfers (every other one a SIGTERM) of the leader, and nothing else, spread
                  over the time; without any of them all that can happen, at random
  --streams N     write to so many streams more
  --json          print one JSON object
`;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function parsePlan(): { plan: ChaosPlan; json: boolean } | undefined {
  const number = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const options = { minutes: number, seed: number, kills: number, freezes: number, transfers: number, streams: number };
  const { values } = parseArgs({ options: { ...options, json: flag, help: flag } });
  if (values.help) return undefined;
  const read = (name: keyof typeof options) => {
    const text = values[name];
    if (text !== undefined && !/^\d+(\.\d+)?$/.test(text)) throw new Error(`--${name}: ${text} is no number`);
    return text === undefined ? undefined : Number(text);
  };
  const counts = { kills: read("kills"), freezes: read("freezes"), transfers: read("transfers") };
  const counted = Object.values(counts).some((count) => count !== undefined);
  const seed = read("seed") ?? Math.floor(Math.random() * 2 ** 32);
  const plan = { ...counts, seed, minutes: read("minutes") ?? (counted ? 0 : 5), streams: read("streams") ?? 0 };
  return { plan, json: values.json };
}

function isGood({ lost, duplicated, vanished, stale_writes: staleWrites, faults }: ChaosSummary): boolean {
  return lost + duplicated + vanished + staleWrites + faults.length === 0;
}

const scope = createScope(say);
const interrupt = () => {
  say("stopping");
  void scope.close().then(() => process.exit(130));
};
process.once("SIGINT", interrupt);
process.once("SIGTERM", interrupt);
try {
  const asked = parsePlan();
  if (asked === undefined) {
    process.stdout.write(usage);
  } else {
    const summary = await runChaos(scope, asked.plan, say);
    const lines = Object.entries(summary).map(([name, value]) => `${name.padEnd(24)} ${JSON.stringify(value)}\n`);
    process.stdout.write(asked.json ? `${JSON.stringify(summary)}\n` : lines.join(""));
    if (!isGood(summary)) process.exitCode = 1;
  }
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
} finally {
  await scope.close();
}
