//! The paced republish queue.
