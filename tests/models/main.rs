//! The parts that decide, explored exhaustively for small sizes: the code that ships, under a model of everything round it.

mod arithmetic;
mod exploring;
mod keyspace;
mod masters;
mod one_shot;
mod queue;
mod supervision;
mod together;
mod zookeeper;
