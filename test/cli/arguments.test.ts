import test from "ava";
import { startCli } from "../support/run-cli.ts";

const commands = [
  ["serve"],
  ["publish"],
  ["subscribe"],
  ["streams", "list"],
  ["streams", "get"],
  ["streams", "create"],
  ["streams", "update"],
  ["streams", "delete"],
  ["streams", "trim"],
  ["streams", "segments"],
  ["cluster"],
  ["bench"],
  ["verify"],
  ["check-storage"],
  [],
];

for (const command of commands) {
  test(`help - ${["message-vault", ...command].join(" ")} shows examples`, async (t) => {
    const run = startCli([...command, "--help"]);
    t.is(await run.exited, 0);
    t.regex(run.stdout(), /Examples:\n {2}\$ /);
    t.is(run.stderr(), "");
  });
}

const mistakes: readonly (readonly [argv: string[], says: RegExp])[] = [
  [["nonsense"], /unknown command 'nonsense'/],
  [["subscribe"], /missing required argument 'stream'/],
  [["subscribe", "s", "--from", "yesterday"], /such as 2026-11-22T10:00:00Z/],
  [["subscribe", "s", "--to", "5", "--follow"], /cannot be used with option/],
  [["publish"], /name the stream to publish to/],
  [["publish", "s", "--format", "xml"], /Allowed choices are lines, json, raw/],
  [["publish", "s", "--linger", "5 parsecs"], /such as 500ms, 30s, 24h or 7d/],
  [["cluster", "--address", "localhost"], /such as 127\.0\.0\.1:50051/],
  [["streams", "update", "s"], /say what to change/],
  [["streams", "trim", "s"], /--before/],
  [["serve", "--port", "many"], /--port: "many" is not allowed/],
  [["serve", "--prot", "1"], /unknown option '--prot'.*Did you mean --port/s],
];

for (const [argv, says] of mistakes) {
  test(`mistake - ${argv.join(" ")} is explained, with exit code 2`, async (t) => {
    const run = startCli(argv);
    t.is(await run.exited, 2);
    t.regex(run.stderr(), says);
    t.is(run.stdout(), "");
  });
}

test("no vault - a command says so, and what to do", async (t) => {
  const run = startCli(["cluster", "--address", "127.0.0.1:1"]);
  t.is(await run.exited, 1);
  t.regex(run.stderr(), /no connection to 127\.0\.0\.1:1: ECONNREFUSED/);
  t.regex(run.stderr(), /is the vault running\? Start it with `npm start`/);
});
