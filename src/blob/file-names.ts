/**
 * Blob names as paths of files. Case counts in names and not on every file system, so a component with upper-case
 * letters is stored in lower case, followed by `~` and a bitmap of which letters are upper case: a hexadecimal digit
 * for four characters, the first character its highest bit, without the zeros at its end. `Foo.Bar` is `foo.bar~88`.
 * Names that Windows keeps for devices get a bare `~`. What is not of this form is no blob.
 */

const componentPattern = /^([a-z0-9._-]+)(?:~([0-9a-f]*))?$/;
const devicePattern = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/;

/** The relative path of a blob's file, with `/` between its components. */
export function encodeName(name: string): string {
  return name.split("/").map(encodeComponent).join("/");
}

/** The name's component that is stored as `stored`; undefined if that is not ours. */
export function decodeComponent(stored: string): string | undefined {
  const match = componentPattern.exec(stored);
  if (match === null) return undefined;
  const [, lower = "", bitmap = ""] = match;
  let decoded = "";
  for (const [index, character] of [...lower].entries()) {
    const digit = Number.parseInt(bitmap[index >> 2] ?? "0", 16);
    decoded += (digit & (8 >> (index & 3))) === 0 ? character : character.toUpperCase();
  }
  // Only the one form that encoding makes, so that two files never are the same blob.
  return encodeComponent(decoded) === stored ? decoded : undefined;
}

function encodeComponent(component: string): string {
  const lower = component.toLowerCase();
  if (lower === component && !devicePattern.test(lower)) return component;
  let bitmap = "";
  for (let start = 0; start < component.length; start += 4) {
    let digit = 0;
    for (let bit = 0; bit < 4; bit += 1) {
      const index = start + bit;
      if (index < component.length && component[index] !== lower[index]) digit |= 8 >> bit;
    }
    bitmap += digit.toString(16);
  }
  return `${lower}~${bitmap.replace(/0+$/, "")}`;
}
