// A js-libp2p node that joins a p2pimg swarm, written from docs/protocol.md.
//
//     node --import ./polyfill.mjs node.mjs JOIN HASH FETCHED OWN.jpg WIDTH HEIGHT
//
// It dials JOIN, finds the providers of the picture HASH in the DHT, fetches it from one of them into
// FETCHED and prints `{"fetched": ..}`. Then it publishes OWN.jpg, which no p2pimg node has, as
// `c:<content id>`, prints `{"publishing": ..}`, and serves it until its standard input ends.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { blake3 } from '@noble/hashes/blake3.js'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

import { frame, readAll, unframe, variant } from './frames.mjs'

const KAD = '/p2pimg/kad/1.0.0'
const CHUNK_BYTES = 262144
const RAW = 0x55
const SHA2_256 = 0x12

const [join, wanted, fetched, ownFile, width, height] = process.argv.slice(2)
const tell = (what) => process.stdout.write(JSON.stringify(what) + '\n')

// Section 6: a key is the multihash of a domain and what is meant.
function key (domain, bytes) {
  const digest = createHash('sha256').update(domain).update(bytes).digest()
  return CID.createV1(RAW, Digest.create(SHA2_256, digest))
}

const own = readFileSync(ownFile)
const ownContent = blake3(own)
const folder = randomBytes(16)
const head = { epoch: 1, seq: 0 }
const hello = () => ({ hash_version: 1, folder, head, images: 1, bytes: own.length })
const refused = (code, message) => ({ refused: { code, message } })
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0

// Section 4, as far as a holder of one picture needs it.
function answer (header) {
  const [name, content] = variant(header)
  switch (name) {
    case 'hello': return [{ hello: hello() }]
    case 'members': return [{ members: [] }]
    case 'catalog': return [{ catalog: { head, upto: 0, from: 0, entries: [] } }]
    case 'holding': {
      const image = Buffer.concat([Buffer.from([1]), ownContent])
      const held = content.images.some((asked) => same(asked, image))
      const facts = {
        image, bytes: own.length, width: Number(width), height: Number(height), format: 'jpeg',
        taken_at: null, guard: 0, traits: 64
      }
      const entry = { seq: 1, content: ownContent, held: { facts, path: Buffer.from('from js.jpg'), files: 1 } }
      return [{ holding: held ? [entry] : [] }]
    }
    case 'outline':
      if (!same(content.content, ownContent)) return [refused('not_found', 'not here')]
      return [{ outline: { bytes: own.length } }]
    case 'chunk':
      if (!same(content.content, ownContent) || content.index !== 0) return [refused('not_found', 'not here')]
      return ['chunk', own]
    case 'chunks':
      if (!same(content.content, ownContent) || content.first !== 0) return [refused('not_found', 'not here')]
      return ['chunks', own]
    default: return [refused('invalid', `this node knows no ${name}`)]
  }
}

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({ protocol: KAD, clientMode: false, peerInfoMapper: passthroughMapper })
  }
})

// Which peer protocol a node speaks, from `identify`.
async function peerProtocol (peer) {
  for (;;) {
    const known = await node.peerStore.get(peer).catch(() => null)
    const found = known?.protocols.find((name) => name.startsWith('/p2pimg/peer/'))
    if (found !== undefined && known.protocols.includes(KAD)) return found
    await new Promise((resolve) => node.addEventListener('peer:identify', resolve, { once: true }))
  }
}

async function ask (peer, protocol, request) {
  const stream = await node.dialProtocol(peer, protocol)
  stream.send(frame(request))
  await stream.close()
  const { header, payload } = unframe(await readAll(stream))
  const [name, content] = variant(header)
  if (name === 'refused') throw new Error(`${content.code}: ${content.message}`)
  return { name, content, payload }
}

const first = await node.dial(multiaddr(join))
const PEER = await peerProtocol(first.remotePeer)
await node.handle(PEER, async (stream) => {
  try {
    const { header } = unframe(await readAll(stream))
    stream.send(frame(...answer(header)))
    await stream.close()
  } catch (error) {
    stream.abort(error)
  }
})
await ask(first.remotePeer, PEER, { hello: hello() })

// Find.
const image = Buffer.concat([Buffer.from([0]), Buffer.from(wanted, 'hex')])
const imageKey = key('p2pimg/image/1\0', image.subarray(1))
async function providers () {
  const found = new Map()
  for await (const event of node.services.dht.findProviders(imageKey)) {
    if (event.name !== 'PEER_RESPONSE' && event.name !== 'PROVIDER') continue
    for (const { id, multiaddrs } of event.providers ?? []) found.set(id.toString(), { id, multiaddrs })
  }
  return [...found.values()]
}
let holders = []
for (let tries = 0; holders.length === 0; tries++) {
  if (tries === 100) throw new Error('the DHT names no provider')
  holders = await providers()
  if (holders.length === 0) await new Promise((resolve) => setTimeout(resolve, 200))
}

// Fetch.
const holder = holders[0]
await node.dial(holder.multiaddrs)
const { content: entries } = await ask(holder.id, PEER, { holding: { images: [image] } })
const { content, held } = entries.find((entry) => entry.held !== null && same(entry.held.facts.image, image))
const outline = await ask(holder.id, PEER, { outline: { content } })
const chunks = []
const count = Math.max(1, Math.ceil(outline.content.bytes / CHUNK_BYTES))
if (outline.payload.length !== (count === 1 ? 0 : 32 * count)) throw new Error('an outline of another length')
for (let index = 0; index < count; index++) {
  const { payload } = await ask(holder.id, PEER, { chunk: { content, index } })
  const length = Math.min(CHUNK_BYTES, outline.content.bytes - index * CHUNK_BYTES)
  if (payload.length !== length) throw new Error('a chunk of another length')
  chunks.push(payload)
}
const file = Buffer.concat(chunks)
if (!same(blake3(file), content)) throw new Error('the bytes are not the content')
writeFileSync(fetched, file)
tell({ fetched: { from: holder.id.toString(), path: Buffer.from(held.path).toString(), chunks: count } })

// Publish.
const ownKey = key('p2pimg/content/1\0', ownContent)
for await (const event of node.services.dht.provide(ownKey)) {
  if (event.name === 'QUERY_ERROR') process.stderr.write(`provide: ${event.error}\n`)
}
tell({ publishing: { peer: node.peerId.toString(), image: 'c:' + Buffer.from(ownContent).toString('hex') } })
process.stdin.resume()
process.stdin.on('end', async () => {
  await node.stop()
  process.exit(0)
})
