// What takes minutes stands in *.long.test.ts and is run by `npm run test:full`; what needs the toolchains of all
// languages in *.interop.test.ts, which `npm run test:interop` runs.
const long = "test/**/*.long.test.ts";
const interop = "test/**/*.interop.test.ts";

function chooseFiles() {
  if (process.env.MESSAGE_VAULT_LONG === "1") return [long];
  if (process.env.MESSAGE_VAULT_TEST_INTEROP_ROUNDS !== undefined) return [interop];
  return ["test/**/*.test.ts", `!${long}`, `!${interop}`];
}

export default {
  extensions: ["ts"],
  files: chooseFiles(),
  timeout: "10m",
  concurrency: 2,
};
