import { posix } from "node:path";

/** A source file: its path from the repository's root, and its text. */
export type Sources = ReadonlyMap<string, string>;

/** Which layers each layer may import, itself apart. */
const layers: Readonly<Record<string, readonly string[]>> = {
  base: [],
  blob: ["base"],
  segment: ["blob", "base"],
  stream: ["segment", "blob", "base"],
  leader: ["blob", "base"],
  rpc: ["stream", "segment", "leader", "blob", "base"],
  client: ["rpc", "stream", "segment", "base"],
  config: ["base"],
  telemetry: ["base"],
  node: ["rpc", "stream", "segment", "leader", "blob", "config", "base"],
  server: ["node", "rpc", "leader", "blob", "config", "telemetry", "base"],
  testing: ["server", "client", "config", "base"],
  cli: ["server", "telemetry", "client", "rpc", "stream", "segment", "leader", "blob", "config", "base"],
};

/** The layer of a file that stands in `src/` itself; a folder is a layer of its own name. */
const rootFiles: Readonly<Record<string, string>> = {
  "cli.ts": "cli",
  "client.ts": "client",
  "clock.ts": "base",
  "config.ts": "config",
  "crc32.ts": "base",
  "create-log.ts": "base",
  "errors.ts": "base",
  "free-memory.ts": "base",
  "http-port.ts": "server",
  "log.ts": "base",
  "node.ts": "node",
  "readiness.ts": "server",
  "server.ts": "server",
  "settings.ts": "config",
  "telemetry.ts": "base",
  "testing.ts": "testing",
  "trace-context.ts": "base",
  "units.ts": "base",
};

/** Who alone may import what. */
const restricted: readonly { what: RegExp; by: RegExp }[] = [
  { what: /(^|\/)gen\//, by: /^src\/(rpc\/|client\/|client\.ts$)/ },
  { what: /^@azure\//, by: /^src\/blob\/azure[^/]*\.ts$/ },
  { what: /^@grpc\/grpc-js$/, by: /^src\/(rpc\/grpc-(server|caller)\.ts$|client\/|client\.ts$)/ },
  { what: /^(@grpc\/reflection|grpc-health-check)$/, by: /^src\/rpc\// },
  { what: /^@opentelemetry\//, by: /^src\/telemetry\// },
  { what: /^commander$/, by: /^src\/cli/ },
];

const linesMax = 400;
const clockUse =
  /\b(Date\.now\b|new Date\(\)|Math\.random\b|setTimeout\b|setInterval\b|performance\.now\b|process\.hrtime\b|AbortSignal\.timeout\b|randomUUID\b|randomBytes\b|getRandomValues\b)/;

/** What must not stand in a file's code. */
const banned: readonly { what: RegExp; says: string; except?: RegExp }[] = [
  { what: clockUse, says: "takes time or randomness past the injected clock", except: /^src\/clock\.ts$/ },
  { what: /^export default\b|\bas default\b/m, says: "has a default export" },
  {
    what: /^export (type )?(\*|\{[^}]*\})[^;]*\bfrom ""/m,
    says: "is a barrel: exports what another file has",
    except: /^src\/(client|testing)\.ts$/,
  },
  { what: /^(export )?(let|var)\b/m, says: "has mutable state at module level" },
  { what: /\bprocess\.exit\(/, says: "ends the process", except: /^src\/cli\.ts$/ },
  { what: /^\s*(export )?(declare )?(enum|namespace)\s+\w/m, says: "has an enum or a namespace" },
];

/** Checks the rules that keep the layers apart and the files alike. Returns one line for each breach. */
export function checkArchitecture(sources: Sources): string[] {
  const imports = new Map([...sources].map(([path, text]) => [path, findImports(path, text)]));
  const breaches = [...sources].flatMap(([path, text]) => [
    ...checkName(path),
    ...checkText(path, text),
    ...checkExports(path, text),
    ...checkImports(path, imports.get(path) ?? []),
  ]);
  return [...breaches, ...findCycles(imports)];
}

function checkName(path: string): string[] {
  const name = posix.basename(path);
  const breaches: string[] = [];
  if (!/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(name)) breaches.push(`${path}: the name is not kebab-case`);
  if (/^(index|utils?|helpers?|common|misc)\.ts$/.test(name)) breaches.push(`${path}: the name says nothing`);
  if (layerOf(path) === undefined) breaches.push(`${path}: belongs to no layer`);
  return breaches;
}

function checkText(path: string, text: string): string[] {
  const code = stripStrings(stripComments(text));
  const breaches = banned
    .filter(({ what, except }) => what.test(code) && except?.test(path) !== true)
    .map(({ what, says }) => `${path}: ${says} (${what.exec(code)?.[0].trim()})`);
  const lines = text.trimEnd().split("\n").length;
  if (lines > linesMax) breaches.push(`${path}: has ${lines} lines, more than ${linesMax}`);
  if (/\b(TODO|FIXME|XXX)\b/.test(text)) breaches.push(`${path}: leaves something to do`);
  return breaches;
}

function checkExports(path: string, text: string): string[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    const name = /^export (?:async )?(?:function\*?|const|(?:abstract )?class|interface|type) (\w+)/.exec(line)?.[1];
    const before = lines[i - 1] ?? "";
    // The implementation behind a function's overloads shares their comment.
    const documented = before.endsWith("*/") || before.startsWith(`export function ${name}(`);
    return name === undefined || documented ? [] : [`${path}:${i + 1}: ${name} has no doc comment`];
  });
}

function checkImports(path: string, imports: readonly string[]): string[] {
  const layer = layerOf(path) ?? "";
  return imports.flatMap((imported) => {
    const breaches: string[] = [];
    for (const { what, by } of restricted) {
      if (what.test(imported) && !by.test(path)) breaches.push(`${path}: may not import ${imported}`);
    }
    const target = layerOf(imported);
    if (target !== undefined && target !== layer && layers[layer]?.includes(target) !== true) {
      breaches.push(`${path}: ${layer} may not import ${imported}`);
    }
    return breaches;
  });
}

function layerOf(path: string): string | undefined {
  const [root, first = "", ...rest] = path.split("/");
  if (root !== "src") return undefined;
  return rest.length === 0 ? rootFiles[first] : first in layers ? first : undefined;
}

function findImports(path: string, text: string): string[] {
  const code = stripComments(text);
  const found = code.matchAll(/^(?:import|export)\b(?:[^"';]*?\bfrom)?\s*"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm);
  const specifiers = [...found].map(([, fixed, dynamic]) => fixed ?? dynamic ?? "");
  return specifiers.map((specifier) =>
    specifier.startsWith(".") ? posix.join(posix.dirname(path), specifier) : specifier,
  );
}

function findCycles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]) => {
    if (trail.includes(path))
      cycles.push(`imports in a circle: ${[...trail.slice(trail.indexOf(path)), path].join(" → ")}`);
    if (trail.includes(path) || done.has(path)) return;
    for (const imported of imports.get(path) ?? []) visit(imported, [...trail, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return cycles;
}

const stringOrComment = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[^]*?\*\//g;

function stripComments(text: string): string {
  return text.replace(stringOrComment, (match) => (match.startsWith("/") ? "" : match));
}

// What a template holds in ${} is code, and stays.
function stripStrings(text: string): string {
  return text.replace(stringOrComment, (match) => {
    if (!match.startsWith("`")) return match.startsWith("/") ? match : '""';
    return `\`${[...match.matchAll(/\$\{([^}]*)\}/g)].map(([inner]) => inner).join("")}\``;
  });
}
