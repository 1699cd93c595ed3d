// Node 20 has no Promise.withResolvers, which js-libp2p calls.
Promise.withResolvers ??= function withResolvers () {
  let resolve, reject
  const promise = new Promise((a, b) => { resolve = a; reject = b })
  return { promise, resolve, reject }
}
