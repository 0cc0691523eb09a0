//! A policy in the languages of other firewalls.

pub mod nft;
