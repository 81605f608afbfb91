import type { StatusObject } from "@grpc/grpc-js";
import { VaultError } from "../errors.ts";
import { fromStatus } from "../rpc/from-status.ts";
import { statusDetailsKey } from "../rpc/status.ts";

// What grpc-js says when a call never left this process, as it had no connection to send it on.
const neverSent = /No connection established|Name resolution failed|Channel closed before call started/;

const lastError = /Last error: (?:Error: )?(.+?)\. Resolution note/;
const reasons = /ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|Name resolution failed/;

/**
 * What a call that ended with `status` means to its caller; null where it just broke off. Where no connection could be
 * made nothing was sent, so the kind is `unavailable`, and the message names `address`.
 */
export function toVaultError(status: StatusObject | null, address: string): VaultError {
  if (status === null) return new VaultError("indeterminate", `${address} gave no answer`, { resource: address });
  const message = status.details;
  if (neverSent.test(message)) {
    const reason = reasons.exec(message)?.[0] ?? lastError.exec(message)?.[1] ?? message;
    return new VaultError("unavailable", `no connection to ${address}: ${reason}`, { resource: address });
  }
  const [details] = status.metadata.get(statusDetailsKey);
  return fromStatus({ code: status.code, message, details: Buffer.isBuffer(details) ? details : undefined });
}
