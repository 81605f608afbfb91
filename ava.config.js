// What takes minutes stands in *.long.test.ts and is run by `npm run test:full`.
const long = "test/**/*.long.test.ts";

export default {
  extensions: ["ts"],
  files: process.env.MESSAGE_VAULT_LONG === "1" ? [long] : ["test/**/*.test.ts", `!${long}`],
  timeout: "10m",
  concurrency: 2,
};
