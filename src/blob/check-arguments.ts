/**
 * The limits of the port, checked on our side before anything is sent: an emulator accepts what Azure refuses, so a
 * store that left this to the other side would behave differently on each.
 */
import { invalidArgument } from "./blob-errors.ts";
import {
  blobBytesMax,
  listLimitMax,
  metadataBytesMax,
  metadataCountMax,
  nameComponentLengthMax,
  nameLengthMax,
  pageBytes,
  putBytesMax,
  writeBytesMax,
} from "./blob-store.ts";
import type { Fence } from "./blob-store.ts";

const namePattern = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;
const dotAtEndPattern = /\.(\/|$)/;
const prefixPattern = /^[A-Za-z0-9._/-]*$/;
const metadataNamePattern = /^[a-z][a-z0-9]*$/;
// No space at either end: HTTP strips it from header values.
const metadataValuePattern = /^[!-~]([ -~]*[!-~])?$/;
const leaseIdPattern = /^[0-9a-f]{32}$/;

/** Throws `invalid` unless `name` is a path of allowed characters whose components do not end in a dot. */
export function checkName(name: string): void {
  if (!namePattern.test(name) || name.length > nameLengthMax) {
    throw invalidArgument(name, `a name is a path of letters, digits, ., _ and -, at most ${nameLengthMax} long`);
  }
  // Most names are shorter than a component may be.
  const isTooLong =
    name.length > nameComponentLengthMax &&
    name.split("/").some((component) => component.length > nameComponentLengthMax);
  if (isTooLong || dotAtEndPattern.test(name)) {
    const reason = `a name's component does not end in a dot and is at most ${nameComponentLengthMax} long`;
    throw invalidArgument(name, reason);
  }
}

/** Throws `invalid` unless `prefix` is made of a name's characters and `limit` is from 1 to `listLimitMax`. */
export function checkListing(prefix: string, limit: number): void {
  if (!prefixPattern.test(prefix)) throw invalidArgument(prefix, "a prefix has other characters than a name");
  if (!Number.isInteger(limit) || limit < 1 || limit > listLimitMax) {
    throw invalidArgument(prefix, `a listing's limit is from 1 to ${listLimitMax}, not ${limit}`);
  }
}

/** Throws `invalid` unless `sizeBytes` is a positive multiple of the page size within the limit. */
export function checkPageBlobSize(name: string, sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < pageBytes || sizeBytes % pageBytes !== 0) {
    throw invalidArgument(name, `a size is a positive multiple of ${pageBytes}, not ${sizeBytes}`);
  }
  if (sizeBytes > blobBytesMax) throw invalidArgument(name, `a size is at most ${blobBytesMax}, not ${sizeBytes}`);
}

/** Throws `invalid` unless position and length are multiples of the page size and there is at least one page. */
export function checkPageRange(name: string, position: number, lengthBytes: number): void {
  const whole = Number.isSafeInteger(position) && position >= 0 && position % pageBytes === 0;
  if (!whole) throw invalidArgument(name, `a position is a multiple of ${pageBytes}, not ${position}`);
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes < pageBytes || lengthBytes % pageBytes !== 0) {
    throw invalidArgument(name, `a length is a positive multiple of ${pageBytes}, not ${lengthBytes}`);
  }
}

/** Throws `invalid` unless it is a page range that one write may carry. */
export function checkWrite(name: string, position: number, lengthBytes: number): void {
  checkPageRange(name, position, lengthBytes);
  if (lengthBytes > writeBytesMax) {
    throw invalidArgument(name, `a write is at most ${writeBytesMax} bytes, not ${lengthBytes}`);
  }
}

/** Throws `invalid` unless the range ends within a blob of `sizeBytes`. */
export function checkWithin(name: string, position: number, lengthBytes: number, sizeBytes: number): void {
  if (position + lengthBytes > sizeBytes) {
    const reason = `the range from ${position} of ${lengthBytes} bytes goes beyond the end at ${sizeBytes}`;
    throw invalidArgument(name, reason);
  }
}

/** Throws `invalid` unless position and length are whole numbers from 0. */
export function checkRead(name: string, position: number, lengthBytes: number): void {
  for (const value of [position, lengthBytes]) {
    if (!Number.isSafeInteger(value) || value < 0) throw invalidArgument(name, `${value} is no position or length`);
  }
}

/** Throws `invalid` unless `lengthBytes` may be put at once. */
export function checkPut(name: string, lengthBytes: number): void {
  if (lengthBytes > putBytesMax) {
    throw invalidArgument(name, `a put is at most ${putBytesMax} bytes, not ${lengthBytes}`);
  }
}

/** Throws `invalid` unless the epoch is a whole number from 1. */
export function checkEpoch(name: string, fence: Fence): void {
  if (!Number.isSafeInteger(fence.epoch) || fence.epoch < 1) {
    throw invalidArgument(name, `an epoch is a whole number from 1, not ${fence.epoch}`);
  }
}

/** Throws `invalid` unless names, values and the sum of their lengths are allowed. */
export function checkMetadata(name: string, metadata: Readonly<Record<string, string>>): void {
  const count = Object.keys(metadata).length;
  if (count > metadataCountMax) {
    throw invalidArgument(name, `metadata has at most ${metadataCountMax} names, not ${count}`);
  }
  let lengthBytes = 0;
  for (const [key, value] of Object.entries(metadata)) {
    if (!metadataNamePattern.test(key)) {
      throw invalidArgument(name, `a metadata name is a letter and then letters and digits, lower case, not ${key}`);
    }
    if (!metadataValuePattern.test(value)) {
      throw invalidArgument(name, `metadata ${key} is not printable ASCII, or is empty, or begins or ends in a space`);
    }
    lengthBytes += key.length + value.length;
  }
  if (lengthBytes > metadataBytesMax) {
    throw invalidArgument(name, `metadata is at most ${metadataBytesMax} bytes, not ${lengthBytes}`);
  }
}

/** Throws `invalid` unless it is 32 lower-case hexadecimal digits. */
export function checkLeaseId(name: string, leaseId: string): void {
  if (!leaseIdPattern.test(leaseId)) throw invalidArgument(name, "a lease id is 32 lower-case hexadecimal digits");
}

/** Throws `invalid` unless it is from 15 to 60 whole seconds. */
export function checkLeaseSeconds(name: string, seconds: number): void {
  if (!Number.isInteger(seconds) || seconds < 15 || seconds > 60) {
    throw invalidArgument(name, `a lease is for 15 to 60 seconds, not ${seconds}`);
  }
}
