import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";

// Prints the packages of which something is loaded when the client is.
const program = `
import { registerHooks } from "node:module";
const loaded = new Set();
registerHooks({
  load(url, context, next) {
    const name = /\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)?.[1];
    if (name !== undefined) loaded.add(name);
    return next(url, context);
  },
});
await import(process.argv[1]);
console.log(JSON.stringify([...loaded].toSorted()));
`;

test("loading - the client loads gRPC and protobuf, and nothing of the server's", async (t) => {
  const client = fileURLToPath(new URL("../../src/client.ts", import.meta.url));
  const args = ["--input-type=module", "--eval", program, client];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  t.deepEqual(JSON.parse(stdout), ["@bufbuild/protobuf", "@grpc/grpc-js", "@js-sdsl/ordered-map"]);
});
