// A peer of a p2pimg swarm that shares no code with p2pimg.
//
//   node --import ./polyfill.mjs peer.mjs BOOTSTRAP IMAGE FILE OWN_IMAGE OWN_FILE
//
// Joins by BOOTSTRAP, finds in the DHT who provides IMAGE (64 hex digits), fetches it from there
// into FILE; then offers OWN_FILE as the picture OWN_IMAGE, until its standard input ends. Prints
// one JSON object for each step.
import { readFileSync, writeFileSync } from 'node:fs'
import { createHash, randomBytes } from 'node:crypto'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { multiaddr } from '@multiformats/multiaddr'
import { blake3 } from '@noble/hashes/blake3.js'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { frame, parse, readAll, send } from './frames.mjs'

const KAD = '/p2pimg/kad/1.0.0'
const PEER = '@PEER_PROTOCOL@'
const CHUNK_BYTES = 262144

const [bootstrap, image, file, ownImage, ownFile] = process.argv.slice(2)
const say = (event) => console.log(JSON.stringify(event))
const fail = (reason) => { throw new Error(reason) }

// Section 6: a picture's key, here as a CID of raw bytes.
function key (image) {
  const hash = createHash('sha256')
  hash.update('p2pimg/image/1\0')
  hash.update(Buffer.from(image, 'hex'))
  return CID.createV1(0x55, Digest.create(0x12, hash.digest()))
}

const imageId = (image) => Buffer.concat([Buffer.of(0), Buffer.from(image, 'hex')])

const libp2p = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify({ protocolPrefix: 'ipfs' }),
    ping: ping(),
    dht: kadDHT({ protocol: KAD, clientMode: false, peerInfoMapper: passthroughMapper })
  }
})

// What it has: one picture.
const own = readFileSync(ownFile)
const content = Buffer.from(blake3(own))
own.length <= CHUNK_BYTES || fail('the own picture has to fit into one chunk')
const epoch = 1 + randomBytes(4).readUInt32BE()
const hello = {
  hash_version: 1,
  folder: randomBytes(16),
  head: { epoch, seq: 1 },
  images: 1,
  bytes: own.length
}
const entry = {
  seq: 1,
  content,
  held: {
    facts: {
      image: imageId(ownImage),
      bytes: own.length,
      width: 64,
      height: 64,
      format: 'jpeg',
      taken_at: null,
      guard: 50,
      traits: 0
    },
    path: Buffer.from('from-javascript.jpg'),
    files: 1
  }
}

// Section 4, as far as a holder of one picture needs it.
function answer (header) {
  if (header === 'members') return frame({ members: [] })
  const [[name, asked]] = Object.entries(header)
  const mine = (asked) => Buffer.compare(Buffer.from(asked.content), content) === 0
  const refuse = (code) => frame({ refused: { code, message: `${name}: ${code}` } })
  switch (name) {
    case 'hello': return frame({ hello })
    case 'catalog': {
      const from = asked.epoch === epoch && asked.after <= 1 ? asked.after : 0
      return frame({ catalog: { head: hello.head, upto: 1, from, entries: from === 1 ? [] : [entry] } })
    }
    case 'holding': {
      const wanted = asked.images.some((image) => Buffer.compare(Buffer.from(image), imageId(ownImage)) === 0)
      return frame({ holding: wanted ? [entry] : [] })
    }
    case 'outline': return mine(asked) ? frame({ outline: { bytes: own.length } }) : refuse('not_found')
    case 'chunk': return mine(asked) && asked.index === 0 ? frame('chunk', own) : refuse('not_found')
    case 'chunks': return mine(asked) && asked.first === 0 && asked.count === 1 ? frame('chunks', own) : refuse('not_found')
    default: return refuse('forbidden')
  }
}

await libp2p.handle(PEER, async (stream) => {
  try {
    await send(stream, answer(parse(await readAll(stream)).header))
  } catch (error) {
    stream.abort(error)
  }
})

async function ask (peer, request) {
  const stream = await libp2p.dialProtocol(peer, PEER)
  await send(stream, frame(request))
  const { header, payload } = parse(await readAll(stream))
  if (header.refused) fail(`refused: ${header.refused.code}: ${header.refused.message}`)
  return { header, payload }
}

// Joins: a node is a member once it has answered hello.
const node = (await libp2p.dial(multiaddr(bootstrap))).remotePeer
const greeted = (await ask(node, { hello })).header.hello
say({ event: 'joined', images: Number(greeted.images) })

// Both sides have to know that the other is a DHT server: identify tells, a moment later.
async function findProviders () {
  for (;;) {
    for await (const found of libp2p.services.dht.findProviders(key(image), { signal: AbortSignal.timeout(20000) })) {
      if (found.name === 'PROVIDER' && found.providers.length > 0) return found.providers
    }
  }
}
const providers = await findProviders()
say({ event: 'providers', peers: providers.map((provider) => provider.id.toString()) })

// Fetches it, and believes the bytes only.
const holder = providers[0]
await libp2p.peerStore.merge(holder.id, { multiaddrs: holder.multiaddrs })
const held = (await ask(holder.id, { holding: { images: [imageId(image)] } })).header.holding
  .find((entry) => entry.held) ?? fail('the provider does not hold it')
const { bytes } = (await ask(holder.id, { outline: { content: held.content } })).header.outline
const chunks = []
for (let index = 0; index < Math.max(1, Math.ceil(Number(bytes) / CHUNK_BYTES)); index++) {
  chunks.push((await ask(holder.id, { chunk: { content: held.content, index } })).payload)
}
const fetched = Buffer.concat(chunks)
Buffer.compare(Buffer.from(blake3(fetched)), Buffer.from(held.content)) === 0 || fail('wrong bytes')
writeFileSync(file, fetched)
say({ event: 'fetched', bytes: fetched.length })

// Offers its own.
let stored = 0
for await (const step of libp2p.services.dht.provide(key(ownImage))) {
  if (step.name === 'QUERY_ERROR') say({ event: 'trouble', error: String(step.error) })
  if (step.name === 'SEND_QUERY' || step.name === 'PEER_RESPONSE') stored++
}
say({ event: 'provided', steps: stored, peer: libp2p.peerId.toString(), content: content.toString('hex') })

process.stdin.resume()
process.stdin.on('end', async () => {
  await libp2p.stop()
  process.exit(0)
})
