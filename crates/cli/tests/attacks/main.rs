//! What attackers do, done to the real binary: a file for each class of attack.

#[cfg(test)]
mod hosts;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod target;
