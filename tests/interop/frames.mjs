// docs/protocol.md, section 2: one request and one response a stream.
import { decode, encode } from 'cborg'

const MAX_HEADER_BYTES = 1048576
const MAX_PAYLOAD_BYTES = 2097152

function varint (value) {
  const bytes = []
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80)
  return Uint8Array.from([...bytes, value])
}

// The number at `at` and where it ends.
function readVarint (bytes, at, limit) {
  let value = 0
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) throw new Error('the frame ends in a length')
    value |= (byte & 0x7f) << (7 * i)
    if ((byte & 0x80) === 0) {
      if (byte === 0 && i > 0) throw new Error('a length is not in its shortest form')
      if (value > limit) throw new Error(`a length of ${value}, at most ${limit} are allowed`)
      return [value, at + i + 1]
    }
  }
  throw new Error('a length of more than four bytes')
}

export function frame (header, payload = new Uint8Array()) {
  const cbor = encode(header)
  return Buffer.concat([varint(cbor.length), cbor, varint(payload.length), payload])
}

export function unframe (bytes) {
  let [length, at] = readVarint(bytes, 0, MAX_HEADER_BYTES)
  const header = decode(bytes.subarray(at, at + length))
  at += length;
  [length, at] = readVarint(bytes, at, MAX_PAYLOAD_BYTES)
  const payload = bytes.subarray(at)
  if (payload.length !== length) throw new Error(`a payload of ${payload.length} bytes, announced ${length}`)
  return { header, payload }
}

// All bytes until the other side has closed its writing side.
export async function readAll (stream) {
  const parts = []
  let length = 0
  for await (const part of stream) {
    parts.push(part.subarray())
    length += part.byteLength
    if (length > MAX_HEADER_BYTES + MAX_PAYLOAD_BYTES + 8) throw new Error('a frame over all limits')
  }
  return Buffer.concat(parts)
}

// A message that is an enum's variant: [name, content].
export function variant (header) {
  if (typeof header === 'string') return [header, null]
  const entries = Object.entries(header)
  if (entries.length !== 1) throw new Error('a message with several names')
  return entries[0]
}
