import { z } from "zod";
import { VaultError } from "./errors.ts";
import { settings } from "./settings.ts";
import type { Setting, SettingName } from "./settings.ts";

/** The value of each setting. */
export type Config = {
  readonly [K in SettingName]: (typeof settings)[K] extends Setting<infer T> ? T : never;
};

/** A setting, as help and documentation tell it. */
export interface SettingRow {
  readonly name: SettingName;
  /** On the command line: `--record-bytes-max`. */
  readonly flag: string;
  /** In the environment: `MESSAGE_VAULT_RECORD_BYTES_MAX`. */
  readonly variable: string;
  readonly default: string;
  readonly allowed: string;
  readonly description: string;
  /** Whether the flag stands alone, without a value. */
  readonly toggle: boolean;
}

const prefix = "MESSAGE_VAULT_";
const names = Object.keys(settings) as SettingName[];

// What else may stand in the environment under our prefix: switches of the tests and the client's address, and what
// Kubernetes sets for a service that is called message-vault (its docs: "Service, Environment variables").
const otherVariables = /^MESSAGE_VAULT_(LONG|ADDRESS|TEST_\w+|SERVICE_\w+|PORT_\d+_\w+)$/;
const kubernetesPort = /^tcp:\/\//;

/** Every setting in the order of the list: the one table for `--help` and the documentation. */
export function describeSettings(): SettingRow[] {
  return names.map((name) => {
    const setting = settings[name];
    return {
      name,
      flag: toFlag(name),
      variable: toVariable(name),
      default: setting.defaultText,
      allowed: setting.allowedText,
      description: setting.description,
      toggle: typeof setting.default === "boolean",
    };
  });
}

const configSchema = z
  .strictObject(
    Object.fromEntries(names.map((name) => [name, settings[name].schema])) as Record<SettingName, z.ZodType>,
  )
  .superRefine((values, context) => {
    const reject = (message: string) => context.addIssue({ code: "custom", message });
    const config = values as Config;
    if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
      reject("--tls-cert and --tls-key go together: give both, or neither");
    }
    if (config.renewMs * 3 > config.leaseSeconds * 1000) {
      reject(`--renew-ms ${config.renewMs} is more than a third of --lease-seconds ${config.leaseSeconds}`);
    }
    if (config.streamPendingBytesMax > config.pendingBytesMax) {
      reject("--stream-pending-bytes-max is more than --pending-bytes-max, the limit for all streams together");
    }
    if (config.commitBytesMax < config.recordBytesMax + 64 * 1024) {
      reject("--commit-bytes-max must be at least 64 KiB more than --record-bytes-max");
    }
    if (config.segmentBytes % 4096 !== 0) reject("--segment-bytes must be a multiple of 4 KiB");
  });

/** The settings of a vault that nobody configured. */
export const defaultConfig: Config = loadConfig({}, {});

/**
 * Makes the settings of a vault. A flag (by the setting's name, as text or as its value) goes before an environment
 * variable, and that before the default. Throws `invalid`, with one line for each unknown name or bad value.
 */
export function loadConfig(
  flags: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
): Config {
  const problems = [...findUnknownFlags(flags), ...findUnknownVariables(environment)];
  const values: Partial<Record<SettingName, unknown>> = {};
  for (const name of names) {
    const [origin, given] = findGiven(name, flags, environment);
    const value = given === undefined ? settings[name].default : readValue(settings[name], given);
    if (value === undefined && given !== undefined) problems.push(describeProblem(settings[name], origin, given));
    values[name] = value;
  }
  if (problems.length > 0) throw new VaultError("invalid", problems.join("\n"));
  const checked = configSchema.safeParse(values);
  if (checked.success) return Object.freeze(checked.data as Config);
  throw new VaultError("invalid", checked.error.issues.map(({ message }) => message).join("\n"));
}

function findGiven(
  name: SettingName,
  flags: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
): [origin: string, given: unknown] {
  if (flags[name] !== undefined) return [toFlag(name), flags[name]];
  const variable = toVariable(name);
  const given = environment[variable];
  const foreign = given === "" || (name === "port" && given !== undefined && kubernetesPort.test(given));
  return [variable, foreign ? undefined : given];
}

function readValue(setting: Setting<unknown>, given: unknown): unknown {
  const value = typeof given === "string" ? setting.parse(given) : given;
  return setting.schema.safeParse(value).success ? value : undefined;
}

function describeProblem(setting: Setting<unknown>, origin: string, given: unknown): string {
  const shown = setting.secret === true ? "its value" : JSON.stringify(given);
  return `${origin}: ${shown} is not allowed; it must be ${setting.allowedText}`;
}

function findUnknownFlags(flags: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(flags)
    .filter((name) => flags[name] !== undefined && !Object.hasOwn(settings, name))
    .map((name) => `${toFlag(name)}: there is no such setting${suggest(toFlag(name), names.map(toFlag))}`);
}

function findUnknownVariables(environment: Readonly<Record<string, string | undefined>>): string[] {
  const known = names.map(toVariable);
  return Object.keys(environment)
    .filter((variable) => variable.startsWith(prefix) && !known.includes(variable) && !otherVariables.test(variable))
    .map((variable) => `${variable}: there is no such setting${suggest(variable, known)}`);
}

function suggest(given: string, known: readonly string[]): string {
  const ranked = known.map((name) => ({ name, distance: editDistance(given, name) }));
  const best = ranked.reduce((a, b) => (b.distance < a.distance ? b : a));
  return best.distance <= 3 ? `; did you mean ${best.name}?` : "";
}

/** How many letters must be put in, left out or changed to turn one text into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const change = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

function toFlag(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function toVariable(name: string): string {
  return prefix + name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
