import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

import test from "ava";

import { checkArchitecture } from "./support/check-architecture.ts";

async function readSources(): Promise<Map<string, string>> {
  const entries = await readdir("src", { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(await Promise.all(paths.map(async (path) => [path, await readFile(path, "utf8")] as const)));
}

test("architecture - the sources keep the rules", async (t) => {
  const sources = await readSources();
  t.true(sources.size > 20);
  t.deepEqual(checkArchitecture(sources), []);
});

const breaches: Readonly<Record<string, readonly [path: string, text: string, says: RegExp]>> = {
  "an import that points up": [
    "src/blob/a.ts",
    'import { b } from "../segment/b.ts";',
    /blob may not import src\/segment/,
  ],
  "an import in several lines": [
    "src/blob/a.ts",
    'import {\n  b,\n} from "../rpc/b.ts";',
    /blob may not import src\/rpc/,
  ],
  "a type import that points up": ["src/errors.ts", 'import type { B } from "./blob/b.ts";', /base may not import/],
  "a dynamic import that points up": ["src/blob/a.ts", 'const b = await import("../stream/b.ts");', /may not import/],
  "streams that know the leader": ["src/stream/a.ts", 'import { b } from "../leader/b.ts";', /may not import/],
  "generated code below rpc": ["src/stream/a.ts", 'import { b } from "../../gen/x_pb.ts";', /may not import gen/],
  "the Azure SDK elsewhere": ["src/blob/file.ts", 'import { B } from "@azure/storage-blob";', /may not import @azure/],
  "grpc-js elsewhere": ["src/rpc/a.ts", 'import * as grpc from "@grpc/grpc-js";', /may not import @grpc\/grpc-js/],
  "a default export": ["src/blob/a.ts", "export default 1;", /default export/],
  "a barrel": ["src/blob/a.ts", 'export { b } from "./b.ts";', /barrel/],
  "a star barrel": ["src/blob/a.ts", 'export * from "./b.ts";', /barrel/],
  "an index file": ["src/blob/index.ts", "", /says nothing/],
  "a file of utilities": ["src/blob/utils.ts", "", /says nothing/],
  "a name in camel case": ["src/blob/blobStore.ts", "", /kebab-case/],
  "a folder of no layer": ["src/stuff/a.ts", "", /no layer/],
  "the wall clock": ["src/blob/a.ts", "const a = Date.now();", /injected clock/],
  "the wall clock in a template": ["src/blob/a.ts", "const a = `${new Date()}`;", /injected clock/],
  "a timer": ["src/blob/a.ts", "setTimeout(() => {}, 1);", /injected clock/],
  randomness: ["src/blob/a.ts", 'import { randomUUID } from "node:crypto";', /injected clock/],
  "a time-out signal": ["src/blob/a.ts", "const a = AbortSignal.timeout(1);", /injected clock/],
  "state at module level": ["src/blob/a.ts", "let a = 1;", /mutable state/],
  "an exit": ["src/server.ts", "process.exit(1);", /ends the process/],
  "an enum": ["src/blob/a.ts", "enum A { B }", /enum/],
  "an export without a comment": ["src/blob/a.ts", "\nexport function a() {}", /a has no doc comment/],
  "a long file": ["src/blob/a.ts", "//\n".repeat(401), /401 lines/],
  "something left to do": ["src/blob/a.ts", ["// TO", "DO: more"].join(""), /to do/],
};

for (const [name, [path, text, says]] of Object.entries(breaches)) {
  test(`architecture - ${name} is found`, (t) => {
    const [breach, ...more] = checkArchitecture(new Map([[path, text]]));
    t.regex(breach ?? "", says);
    t.deepEqual(more, []);
  });
}

test("architecture - a circle of imports is found", (t) => {
  const sources = new Map([
    ["src/blob/a.ts", 'import { b } from "./b.ts";'],
    ["src/blob/b.ts", 'import type { c } from "./c.ts";'],
    ["src/blob/c.ts", 'import { a } from "./a.ts";'],
  ]);
  t.deepEqual(checkArchitecture(sources), [
    "imports in a circle: src/blob/a.ts → src/blob/b.ts → src/blob/c.ts → src/blob/a.ts",
  ]);
});

test("architecture - what comments and strings say does not matter", (t) => {
  const text = [
    "/** Like Date.now(), export default and process.exit(). */",
    'export const a = "setTimeout"; // let b = Math.random();',
    'const url = "https://example.org";',
    'const c = `import { d } from "../rpc/d.ts"`;',
  ].join("\n");
  t.deepEqual(checkArchitecture(new Map([["src/blob/a.ts", text]])), []);
});
