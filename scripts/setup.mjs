/**
 * Makes the checkout ready to run: installs the packages where they are missing or not those of package-lock.json.
 * Called before each npm script, so a fresh clone needs one command. It runs under the Node that the machine has (20 or
 * later); what it installs includes the Node that everything else runs under.
 *
 * All output goes to standard error: standard output is the script's.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const lockFile = join(root, "package-lock.json");
const stampFile = join(root, "node_modules", ".setup-stamp");
// npm's own record of what it installed.
const installedFile = join(root, "node_modules", ".package-lock.json");
const nodeFile = join(root, "node_modules", "node", "bin", "node");

const wanted = createHash("sha256").update(readFileSync(lockFile)).update(process.platform).digest("hex");

if (isInstalled()) {
  if (readStamp() !== wanted) writeFileSync(stampFile, wanted);
} else {
  await install();
}

function isInstalled() {
  if (!existsSync(installedFile) || !existsSync(nodeFile)) return false;
  const stamp = readStamp();
  // Without a stamp somebody ran npm by hand: what was installed after the lock file was written counts.
  if (stamp === undefined) return statSync(installedFile).mtimeMs >= statSync(lockFile).mtimeMs;
  return stamp === wanted;
}

function readStamp() {
  return existsSync(stampFile) ? readFileSync(stampFile, "utf8").trim() : undefined;
}

async function install() {
  const modules = join(root, "node_modules");
  // npm ci would empty what it leads to, which is somebody else's.
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink() === true) {
    fail("node_modules is a link, and what it leads to is not what package-lock.json asks for; remove the link");
  }
  const startedAt = Date.now();
  const seconds = () => Math.round((Date.now() - startedAt) / 1000);
  say("installing packages with npm ci; this takes about a minute, once");
  const progress = setInterval(() => say(`still installing (${seconds()} s)`), 10_000);
  rmSync(stampFile, { force: true });
  const code = await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  clearInterval(progress);
  if (code !== 0) fail(`npm ci failed (exit code ${code}); its messages are above`);
  const check = spawnSync(nodeFile, ["--version"], { encoding: "utf8" });
  if (check.status !== 0) {
    fail("the package 'node' has no binary: its install script did not run. Is ignore-scripts set? (npm config ls -l)");
  }
  writeFileSync(stampFile, wanted);
  say(`ready in ${seconds()} s, with Node ${check.stdout.trim()}`);
}

/** Runs a command with the machine's own Node, as npm ci takes away the one in node_modules that it may run on. */
function run(command, args) {
  const own = realPath(join(root, "node_modules", ".bin"));
  const path = (process.env.PATH ?? "").split(delimiter).filter((directory) => realPath(directory) !== own);
  const env = { ...process.env, PATH: path.join(delimiter) };
  const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? signal));
  });
}

function realPath(directory) {
  return existsSync(directory) ? realpathSync(directory) : resolve(directory);
}

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}
