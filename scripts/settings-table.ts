/**
 * The table of every setting, docs/settings.md, made from the one list in src/settings.ts. `npm run settings-table`
 * writes it; `npm run check` compares.
 */
import { readFile, writeFile } from "node:fs/promises";
import { describeSettings } from "../src/config.ts";

const path = "docs/settings.md";

/** The document. */
export function renderSettings(): string {
  const rows = describeSettings().map(
    (row) => `| \`${row.flag}\` | ${row.default} | ${row.allowed.replaceAll("|", "\\|")} | ${row.description} |`,
  );
  return `# Settings

Every setting of \`message-vault serve\` with its default. A flag goes before the environment variable, and that before
the default. The variable is the flag in upper case behind \`MESSAGE_VAULT_\`: \`--segment-bytes\` is
\`MESSAGE_VAULT_SEGMENT_BYTES\`. Sizes may be written as \`64MiB\`, times as \`30s\` or \`24h\`. Made by
\`npm run settings-table\` from \`src/settings.ts\`.

| flag | default | allowed | what it does |
|---|---|---|---|
${rows.join("\n")}
`;
}

/** Throws where the document is not as the settings are. */
export async function checkSettingsTable(): Promise<void> {
  if ((await readFile(path, "utf8")) !== renderSettings()) throw new Error("run npm run settings-table");
}

if (process.argv[1]?.endsWith("settings-table.ts") === true) await writeFile(path, renderSettings());
