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

const { values, tokens } = parseArgs({
  options: { rounds: { type: "string", default: "1" } },
  strict: false,
  tokens: true,
});
const forAva = tokens.flatMap((token) => (token.kind === "option" && token.name !== "rounds" ? [token.rawName] : []));

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
