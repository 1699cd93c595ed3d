// Section 2 of docs/protocol.md: one request and one response a stream, each a CBOR header and
// a payload.
import { decode, encode } from 'cborg'

const MAX_HEADER_BYTES = 1048576
const MAX_PAYLOAD_BYTES = 2097152

function varint (number) {
  const bytes = []
  do {
    const rest = Math.floor(number / 128)
    bytes.push(number % 128 | (rest > 0 ? 128 : 0))
    number = rest
  } while (number > 0)
  return Uint8Array.from(bytes)
}

export function frame (header, payload = new Uint8Array()) {
  const bytes = encode(header)
  return Buffer.concat([varint(bytes.length), bytes, varint(payload.length), payload])
}

// Takes a frame apart; the whole of it has to be there, and nothing else.
export function parse (bytes) {
  let at = 0
  function length (most) {
    let number = 0
    for (let shift = 1; ; shift *= 128) {
      if (at >= bytes.length || shift > 128 ** 3) throw new Error('a length is cut off or too long')
      const byte = bytes[at++]
      number += (byte & 127) * shift
      if (byte < 128) break
    }
    if (number > most || at + number > bytes.length) throw new Error('a length is beyond its limit')
    at += number
    return bytes.subarray(at - number, at)
  }
  const header = decode(length(MAX_HEADER_BYTES))
  const payload = length(MAX_PAYLOAD_BYTES)
  if (at !== bytes.length) throw new Error('bytes after the frame')
  return { header, payload }
}

export async function readAll (stream) {
  const parts = []
  for await (const part of stream) parts.push(part.subarray())
  return Buffer.concat(parts)
}

export async function send (stream, bytes) {
  const step = 65536
  for (let at = 0; at < bytes.length; at += step) {
    if (!stream.send(bytes.subarray(at, at + step))) await stream.onDrain()
  }
  await stream.close()
}
