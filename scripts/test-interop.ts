/**
 * `npm run test:interop`: builds the examples in all languages that this machine has tools for, checks their sources with
 * each language's own tools, and runs each publisher with each subscriber (test/interop/pairs.interop.test.ts).
 *
 * `-- --rounds 3` does the last three times in a row; what else is given goes to ava.
 */
import { parseArgs } from "node:util";
import { languages, lintExample, provideExample } from "./examples.ts";
import type { Language } from "./examples.ts";
import { runSteps } from "./run-steps.ts";
import type { Step } from "./run-steps.ts";

const usage = `npm run test:interop -- [--rounds N] [OPTIONS OF AVA]

  --rounds N   run every pair so often, one round after the other (1)

npm run test:interop -- --rounds 3 --match='*python*'
`;

const { values, tokens } = parseArgs({
  options: { rounds: { type: "string", default: "1" }, help: { type: "boolean", default: false } },
  strict: false,
  tokens: true,
});
if (values.help === true) {
  process.stdout.write(usage);
  process.exit();
}
if (!/^[1-9]\d*$/.test(String(values.rounds))) {
  process.stderr.write(`--rounds: ${String(values.rounds)} is no whole number above 0\n\n${usage}`);
  process.exit(2);
}
const forAva = tokens.flatMap((token) => {
  if (token.kind !== "option" || token.name === "rounds") return [];
  return [token.value === undefined ? token.rawName : `${token.rawName}=${token.value}`];
});

const build = (language: Language): Step => ({
  name: `example in ${language.name}`,
  async run() {
    const example = await provideExample(language);
    if (example !== undefined) await lintExample(example);
  },
});

const pairs: Step = {
  name: "each publisher with each subscriber",
  run: ["ava", ...forAva],
  env: { MESSAGE_VAULT_TEST_INTEROP_ROUNDS: String(values.rounds) },
};

const built = await runSteps(languages.map(build), 2);
process.exitCode = built && (await runSteps([pairs], 1, true)) ? 0 : 1;
