//! Keys of the DHT.
