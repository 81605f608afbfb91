/**
 * `npm run newcomer`: does in a fresh folder, with empty caches, what the README of each example says, against a vault
 * that runs, and prints how long each step took. `-- go java` does it for these languages only.
 *
 * The commands are the README's own. Two things differ: the vault is at a free port, which is put in the place of 50051,
 * and what is listed under "Before" is not done, but has to be there.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createScope } from "../test/support/create-scope.ts";
import type { Scope } from "../test/support/create-scope.ts";
import { startVaultProcess } from "../test/support/start-vault-process.ts";
import { environmentOf, hasTools, languages, readCommands, runShell } from "./examples.ts";
import type { Language } from "./examples.ts";

const wanted = process.argv.slice(2);
const recordCount = 3;

const names = languages.map(({ name }) => name);
const usage = `npm run newcomer [-- LANGUAGE...]: all of ${names.join(", ")} without any\n`;
if (wanted.includes("--help")) {
  process.stdout.write(usage);
  process.exit();
}
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`there is no example called ${unknown.join(", ")}\n\n${usage}`);
  process.exit(2);
}

async function followReadme(scope: Scope, language: Language, address: string): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), `message-vault-${language.name}-`));
  // Go makes what it caches read-only.
  scope.teardown(async () => {
    await runShell(`chmod -R u+w ${home}`, tmpdir(), {});
    await rm(home, { recursive: true });
  });
  const environment = { ...(await environmentOf(language)), ...emptyCaches(home) };
  const perform = async (heading: string, directory: string) => {
    const commands = (await readCommands(language.name, heading)).replaceAll("127.0.0.1:50051", address);
    const startedAt = performance.now();
    const output = await runShell(commands, directory, environment);
    return { output, seconds: (performance.now() - startedAt) / 1000 };
  };
  const build = await perform("Build", home);
  const publish = await perform("Publish", join(home, "first-steps"));
  const follow = await perform("Follow", join(home, "first-steps"));
  const lines = follow.output.trim().split("\n").length;
  if (lines !== recordCount) throw new Error(`${language.name}: ${lines} records instead of ${recordCount}`);
  const seconds = [build.seconds, publish.seconds, follow.seconds];
  const cells = [...seconds, seconds.reduce((sum, one) => sum + one)].map((value) => `${value.toFixed(1)} s`);
  return `| ${[language.name, ...cells].join(" | ")} |`;
}

/** So that everything is fetched and compiled, as on a machine that has not done so before. */
function emptyCaches(home: string): Readonly<Record<string, string>> {
  return {
    GOMODCACHE: join(home, "go-modules"),
    GOCACHE: join(home, "go-build"),
    PIP_CACHE_DIR: join(home, "pip"),
    MAVEN_OPTS: `-Dmaven.repo.local=${join(home, "maven")}`,
    npm_config_cache: join(home, "npm"),
  };
}

const scope = createScope(console.log);
try {
  const vault = await startVaultProcess(scope, ["--storage", "memory:"]);
  console.log("| language | build | publish | follow | together |\n|---|---|---|---|---|");
  for (const language of languages) {
    if (wanted.length > 0 && !wanted.includes(language.name)) continue;
    if (await hasTools(language)) console.log(await followReadme(scope, language, vault.endpoint));
  }
} finally {
  await scope.close();
}
