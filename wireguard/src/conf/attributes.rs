//! Extended attributes: access control lists, the labels of SELinux and Smack, what a site adds.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The kernel's limits for a file's list of names and for one value.
const LARGEST: usize = 64 * 1024;

/// Signatures of the old content, which the kernel makes anew.
const OF_THE_CONTENT: [&CStr; 2] = [c"security.ima", c"security.evm"];

/// Gives a new file the attributes of an old one, and takes away an access control list that only the folder has given it.
pub(super) fn copy(from: &File, to: &File) -> io::Result<()> {
    let old = list(from)?;
    for name in names(&old).filter(|name| !OF_THE_CONTENT.contains(name)) {
        let value = value(from, name)?;
        // a security module may have labelled the new file already, and may let nobody say the same again
        if self::value(to, name).is_ok_and(|there| there == value) {
            continue;
        }
        fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    let new = list(to)?;
    let acl = c"system.posix_acl_access";
    if names(&new).any(|name| name == acl) && !names(&old).any(|name| name == acl) {
        fremovexattr(to, acl)?;
    }
    Ok(())
}

fn list(file: &File) -> io::Result<Vec<u8>> {
    let mut room = vec![0; LARGEST];
    match flistxattr(file, &mut room[..]) {
        Ok(length) => room.truncate(length),
        // the file system has none
        Err(Errno::NOTSUP | Errno::NOSYS) => room.clear(),
        Err(error) => return Err(error.into()),
    }
    Ok(room)
}

fn names(list: &[u8]) -> impl Iterator<Item = &CStr> {
    list.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}

fn value(file: &File, name: &CStr) -> io::Result<Vec<u8>> {
    let mut room = vec![0; LARGEST];
    let length = fgetxattr(file, name, &mut room[..])?;
    room.truncate(length);
    Ok(room)
}
