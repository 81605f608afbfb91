/**
 * What Azure answers, as the port's errors. Status and error codes: "Blob service error codes" in Azure's REST
 * reference. A message or cause built here holds no URL, header or signed string, as these can hold secrets.
 */
import { RestError } from "@azure/storage-blob";
import { VaultError } from "../errors.ts";
import { blobExists, blobNotFound, etagConflict, leaseConflict, sequenceConflict } from "./blob-errors.ts";

/** The operation that failed. */
export interface FailedRequest {
  /** The blob, or the prefix of a listing. */
  readonly name: string;
  /** Whether it would have changed something: what is not known to have failed is then `indeterminate`. */
  readonly change: boolean;
  /** The epoch that the change asked for. */
  readonly epoch?: number;
  /** Whether our own time-out ended it, after how long. */
  readonly timedOutAfterMs?: number | undefined;
}

/** How long to wait where storage throttles and does not say. */
const retryAfterDefaultMs = 1000;

/** Codes of errors that come up before a request is sent: by name, by connection, by TLS. */
const unsentCodes = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ERR_TLS_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/;

/** What is left of an SDK error: its code, status, and first line. */
interface Answer {
  readonly status: number | undefined;
  readonly code: string;
  readonly text: string;
  readonly retryAfterMs: number | undefined;
  readonly cause: Error;
}

/** The VaultError for what an SDK call rejected with. A VaultError stays as it is. */
export function mapAzureError(error: unknown, request: FailedRequest): VaultError {
  if (error instanceof VaultError) return error;
  const answer = readAnswer(error);
  if (request.timedOutAfterMs !== undefined) {
    return unknownOutcome(request, `storage did not answer within ${request.timedOutAfterMs} ms`, answer.cause);
  }
  if (answer.status !== undefined) return mapStatus(answer, answer.status, request);
  const { name } = request;
  const detail = { resource: name };
  if (/Credential|Authentication/.test(answer.cause.name)) {
    const message = `no Azure credential works: ${answer.text}; sign in, or set a managed identity or a connection string`;
    return new VaultError("unauthenticated", message, detail, answer.cause);
  }
  if (unsentCodes.test(answer.code) || /^(connect|getaddrinfo) /.test(answer.text) || answer.text === "") {
    const message = `storage cannot be reached for blob ${name} (${answer.code || "no connection"}): check address and network`;
    return new VaultError("unavailable", message, detail, answer.cause);
  }
  return unknownOutcome(request, answer.text, answer.cause);
}

/** Whether storage said that there is no such blob (and not that there is no container). */
export function isBlobMissing(error: unknown): boolean {
  const { status, code } = readAnswer(error);
  return status === 404 && code !== "ContainerNotFound" && code !== "ContainerBeingDeleted";
}

/** Whether a range began behind the end of the blob. */
export function isRangeBeyondEnd(error: unknown): boolean {
  return readAnswer(error).status === 416;
}

function mapStatus(answer: Answer, status: number, request: FailedRequest): VaultError {
  const { name } = request;
  const { code, text, cause } = answer;
  const detail = { resource: name };
  const said = `${status} ${code}: ${text}`;
  if (code.startsWith("Lease") && (status === 412 || status === 409)) {
    return leaseConflict(name, `does not allow it by its lease (${code})`, cause);
  }
  switch (status) {
    case 412:
      if (code === "SequenceNumberConditionNotMet") return sequenceConflict(name, request.epoch, undefined, cause);
      return etagConflict(name, cause);
    case 409:
      if (code === "BlobAlreadyExists") return blobExists(name, cause);
      if (/BlobType/.test(code)) return new VaultError("invalid", `blob ${name} is of another kind`, detail, cause);
      return new VaultError("unavailable", `storage refuses blob ${name} for now (${said})`, detail, cause);
    case 404:
      if (!code.startsWith("Container")) return blobNotFound(name, cause);
      return new VaultError(
        "notFound",
        `the container does not exist (${code}): create it, or correct its name`,
        {},
        cause,
      );
    case 429:
    case 503:
      return new VaultError(
        "overloaded",
        `storage throttles (${said}): slow down`,
        { ...detail, retryAfterMs: answer.retryAfterMs ?? retryAfterDefaultMs },
        cause,
      );
    case 401:
      return unauthenticated(said, detail, cause);
    case 403:
      if (code === "AuthenticationFailed") return unauthenticated(said, detail, cause);
      return new VaultError(
        "denied",
        `storage does not allow it (${said}): grant Storage Blob Data Contributor, or a SAS with racwdl`,
        detail,
        cause,
      );
    default:
      if (status >= 500 || status === 408) return unknownOutcome(request, `storage answered ${said}`, cause);
      return new VaultError("invalid", `storage refuses the request for blob ${name} (${said})`, detail, cause);
  }
}

function unauthenticated(said: string, detail: { resource: string }, cause: Error): VaultError {
  const message = `storage does not accept the credentials (${said}): check key or SAS, and this machine's clock`;
  return new VaultError("unauthenticated", message, detail, cause);
}

function unknownOutcome({ name, change }: FailedRequest, reason: string, cause: Error): VaultError {
  const detail = { resource: name };
  return change
    ? new VaultError("indeterminate", `blob ${name} may or may not have been changed: ${reason}`, detail, cause)
    : new VaultError("unavailable", `blob ${name} cannot be read: ${reason}`, detail, cause);
}

function readAnswer(error: unknown): Answer {
  const original = error instanceof Error ? error : new Error(String(error));
  const text = withoutSecrets(original.message.split("\n", 1)[0] ?? "");
  // The original stays out: it holds the request with its URL and headers.
  const cause = new Error(text);
  cause.name = original.name;
  if (!(original instanceof RestError)) return { status: undefined, code: "", text, retryAfterMs: undefined, cause };
  const headers = original.response?.headers;
  // A HEAD's answer has no body: its error code is in the header alone.
  const code = headers?.get("x-ms-error-code") ?? original.code ?? "";
  const seconds = Number(headers?.get("retry-after") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  return { status: original.statusCode, code, text, retryAfterMs, cause };
}

/** The text without what looks like a key or a signature. */
export function withoutSecrets(text: string): string {
  return text
    .replaceAll(/(sig|signature|AccountKey|SharedAccessSignature)=[^\s&;'"]+/gi, "$1=...")
    .replaceAll(/[A-Za-z0-9+/]{43,}={0,2}/g, "...");
}
