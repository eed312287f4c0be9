//! What is left out of JSON because it says nothing.

pub(crate) fn zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
