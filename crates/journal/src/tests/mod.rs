//! Tests of the whole journal, with sizes that make everything happen soon.

mod adoption;
mod bounds;
mod conversation;
mod costs;
mod damage;
mod failure;
mod model;
mod release;
mod rig;
