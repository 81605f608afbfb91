import { VaultError } from "../errors.ts";

/** `notFound`: there is no such blob. */
export function blobNotFound(name: string, cause?: unknown): VaultError {
  return new VaultError("notFound", `blob ${name} does not exist`, { resource: name }, cause);
}

/** `alreadyExists`: there is a blob of that name. */
export function blobExists(name: string, cause?: unknown): VaultError {
  return new VaultError("alreadyExists", `blob ${name} exists already`, { resource: name }, cause);
}

/** `conflict` (etag): the blob has another version than the one that was given. */
export function etagConflict(name: string, cause?: unknown): VaultError {
  const message = `blob ${name} was changed by somebody else; read it again`;
  return new VaultError("conflict", message, { resource: name, condition: "etag" }, cause);
}

/** `conflict` (sequenceNumber): the page blob's sequence number is not `epoch` but `found`, where that is known. */
export function sequenceConflict(name: string, epoch?: number, found?: number, cause?: unknown): VaultError {
  const owner = found === undefined ? "another epoch" : `epoch ${found}`;
  const detail = {
    resource: name,
    condition: "sequenceNumber",
    ...(found === undefined ? {} : { found: { sequenceNumber: `${found}` } }),
  } as const;
  return new VaultError("conflict", `blob ${name} is owned by ${owner}, not by ${epoch ?? "this one"}`, detail, cause);
}

/** `conflict` (lease): the lease does not allow it; `reason` completes "blob NAME ...". */
export function leaseConflict(name: string, reason: string, cause?: unknown): VaultError {
  return new VaultError("conflict", `blob ${name} ${reason}`, { resource: name, condition: "lease" }, cause);
}

/** `invalid`: an argument breaks a limit of the port; nothing was sent. */
export function invalidArgument(name: string, reason: string): VaultError {
  return new VaultError("invalid", `blob ${name}: ${reason}`, { resource: name });
}
