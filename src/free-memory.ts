/**
 * Frees the memory of bytes that nobody may look at any more; their length is 0 from then on, as is that of every other
 * view of them. Left to the garbage collector, what passes through would make it run several times a second under load,
 * as V8 counts its bytes. Bytes that do not fill memory of their own, but for `leadingBytes` before them, stay.
 */
export function freeMemory({ buffer, byteOffset, length }: Uint8Array, leadingBytes = 0): void {
  if (length === 0 || byteOffset !== leadingBytes || buffer.byteLength !== leadingBytes + length) return;
  // Whom it is moved to lets go of it at once.
  (buffer as ArrayBuffer).transfer(0);
}
