// The head of an MCUboot image, as the box reads it too: which version a file says it is (image.h of MCUboot).
export const HEAD_BYTES = 32;
const MAGIC = 0x96f3b83d;
const VERSION_AT = 20;

/** The version in the head of a file as 1.2.3 or 1.2.3+4; null where there is no such head. */
export function versionIn(buffer) {
  if (buffer.byteLength < HEAD_BYTES) return null;
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC) return null;
  const [major, minor] = [view.getUint8(VERSION_AT), view.getUint8(VERSION_AT + 1)];
  const [revision, build] = [view.getUint16(VERSION_AT + 2, true), view.getUint32(VERSION_AT + 4, true)];
  return `${major}.${minor}.${revision}${build ? `+${build}` : ""}`;
}
