import type { StatusObject } from "@grpc/grpc-js";
import { VaultError } from "../errors.ts";
import { fromClientStatus } from "../rpc/from-status.ts";
import { statusDetailsKey } from "../rpc/status.ts";

/** What a call that ended with `status` means to its caller; null where it just broke off. */
export function toVaultError(status: StatusObject | null, address: string): VaultError {
  if (status === null) return new VaultError("indeterminate", `${address} gave no answer`, { resource: address });
  const [details] = status.metadata.get(statusDetailsKey);
  const bytes = Buffer.isBuffer(details) ? details : undefined;
  return fromClientStatus({ code: status.code, message: status.details, details: bytes }, address);
}
