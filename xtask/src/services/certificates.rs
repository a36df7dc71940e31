//! The certificates of the servers: an authority made for the tests, and one certificate for all servers of this machine.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::account::Account;

/// What the servers' certificate is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The file of the authority's certificate: what a client trusts.
pub(crate) const AUTHORITY: &str = "ca.pem";
/// The file of the servers' certificate.
pub(crate) const CERTIFICATE: &str = "server.pem";
/// The file of the key to it.
pub(crate) const KEY: &str = "server.key";

/// Makes them in a folder, unless they are there. The authority's own key is kept nowhere.
pub(crate) fn make(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut authority = CertificateParams::new([])?;
    authority.distinguished_name.push(DnType::CommonName, "Lantern tests");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut server = CertificateParams::new(NAMES.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    for params in [&mut authority, &mut server] {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
    }

    let key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&key)?;
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &Issuer::new(authority, key))?;

    // Renamed when it is whole, so that a folder that is there is complete.
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished).with_context(|| format!("making {}", unfinished.display()))?;
    fs::write(unfinished.join(AUTHORITY), authority_certificate.pem())?;
    fs::write(unfinished.join(CERTIFICATE), certificate.pem())?;
    Account::Caller.write(&unfinished.join(KEY), &server_key.serialize_pem())?;
    fs::rename(&unfinished, folder).with_context(|| format!("making {}", folder.display()))
}
