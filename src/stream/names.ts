import { VaultError } from "../errors.ts";

/** The most characters of a stream's name: they are ASCII, so bytes as well. */
export const streamNameLengthMax = 128;

const streamName = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?$/;
const streamPrefix = /^(?:[A-Za-z0-9][A-Za-z0-9._-]*)?$/;

/**
 * Checks a stream's name: 1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, not ending in a
 * dot. So it is one folder of a path on every storage. Throws `invalid` that names `field`, the name's place in the
 * request.
 */
export function validateStreamName(name: string, field: string): void {
  if (name === "") throw new VaultError("invalid", `${field}: the stream's name is missing`, { field });
  if (name.length > streamNameLengthMax) {
    const message = `${field}: a stream's name has at most ${streamNameLengthMax} characters, this one ${name.length}`;
    throw new VaultError("invalid", message, { field });
  }
  if (!streamName.test(name)) {
    const rule = "has letters, digits, '.', '_' and '-' only, begins with a letter or digit and does not end in '.'";
    throw new VaultError("invalid", `${field}: a stream's name ${rule}: ${JSON.stringify(name)}`, { field });
  }
}

/** Checks the beginning of a stream's name; empty is the beginning of all. Throws `invalid` that names `field`. */
export function validateStreamPrefix(prefix: string, field: string): void {
  if (prefix.length > streamNameLengthMax || !streamPrefix.test(prefix)) {
    const message = `${field}: no stream's name begins with ${JSON.stringify(prefix.slice(0, streamNameLengthMax))}`;
    throw new VaultError("invalid", message, { field });
  }
}
