/** How much is logged: everything from this level up. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** What goes along with an event, by name. An `error` field may hold anything that was thrown. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Where events are logged. An event is a short constant phrase, so that it can be searched for and counted; what
 * varies stands in the fields, however deep. Secrets are blotted out of every string, and of bytes only their number is
 * told.
 */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** How a log looks: one JSON object a line, or a line to be read by a person. */
export type LogFormat = "json" | "text";

/** Where the lines go: standard error, or what a test collects. */
export interface LogOutput {
  write(line: string): unknown;
}

/** A log that keeps nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

// What stands before a secret is kept, as the one group of each line.
const secret = new RegExp(
  [
    String.raw`((?:AccountKey|SharedAccessSignature|SharedAccessKey|client_secret|client_assertion|password)=)[^;\s"]+`,
    String.raw`((?:\b|%26|%3F)sig(?:=|%3D))[^&\s"]+`,
    String.raw`(\bauthorization["']?[:=] ?["']?(?:\w+ )?)[^\s"',]+`,
    String.raw`(\bBearer )[\w.~+/=-]{20,}`,
    // A password in a URL.
    String.raw`(:\/\/[^\s/:@"]*:)[^\s/@"]+(?=@)`,
  ].join("|"),
  "gi",
);

/** Blots account keys, signatures, tokens, passwords in URLs and authorization headers out of a text. */
export function blotSecrets(text: string): string {
  return text.replace(
    secret,
    (_match, ...groups) => `${groups.find((group): group is string => group !== undefined)}***`,
  );
}
