import { VaultError } from "../errors.ts";
import { hasCode } from "./file-system.ts";

/** Marks an error after which it is certain that the file is as it was. */
export class NothingWritten extends Error {
  constructor(cause: unknown) {
    super("nothing was written", { cause });
    this.name = "NothingWritten";
  }
}

/** `overloaded` where the disk or the quota is full, else `unavailable`: the change was not carried out. */
export function fileNotChanged(name: string, error: unknown): VaultError {
  if (error instanceof VaultError) return error;
  const cause = error instanceof NothingWritten ? error.cause : error;
  if (hasCode(cause, "ENOSPC", "EDQUOT")) {
    const message = `the disk (or its quota) is full, nothing of blob ${name} was changed: free some space`;
    return new VaultError("overloaded", message, { resource: name }, cause);
  }
  if (hasCode(cause, "ENOTDIR", "EISDIR")) {
    const message = `blob ${name}: on files, no blob may have the name of another one's folder`;
    return new VaultError("invalid", message, { resource: name }, cause);
  }
  return new VaultError("unavailable", `blob ${name} was not changed: ${reason(cause)}`, { resource: name }, cause);
}

/** `indeterminate`: the disk failed under a change. */
export function fileChangeUnknown(name: string, error: unknown): VaultError {
  if (error instanceof VaultError) return error;
  const message = `blob ${name} may or may not have been changed: ${reason(error)}`;
  return new VaultError("indeterminate", message, { resource: name }, error);
}

/** `unavailable`: a read failed. */
export function fileNotRead(name: string, error: unknown): VaultError {
  if (error instanceof VaultError) return error;
  return new VaultError("unavailable", `blob ${name} cannot be read: ${reason(error)}`, { resource: name }, error);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
