//! Copies between peers: what arrives is what left, whatever happens in between.

mod files;
mod joining;
mod support;
