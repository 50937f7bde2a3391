//! Which addresses may be reached: not those where only the operator's own position opens doors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::Url;

/// Addresses at which clouds give away credentials to whoever can send them a request.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // Container and pod credentials on AWS.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Alibaba, Azure, Oracle, Google.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether an address may be reached. Metadata services and the API server need an entry of exactly that address.
pub(super) fn may_reach(address: SocketAddr, api_server: &[SocketAddr], allow: &[IpNet]) -> bool {
    faces(address.ip()).into_iter().all(|ip| {
        let exactly =
            allow.iter().any(|block| block.prefix_len() == block.max_prefix_len() && block.addr() == ip);
        let precious = METADATA.contains(&ip)
            || api_server
                .iter()
                .any(|server| server.ip().to_canonical() == ip && server.port() == address.port());
        if precious { exactly } else { !is_special(ip) || allow.iter().any(|block| block.contains(&ip)) }
    })
}

/// The address, and the IPv4 address that a translator on the way would make of it.
fn faces(ip: IpAddr) -> Vec<IpAddr> {
    let ip = ip.to_canonical();
    let mut list = vec![ip];
    if let IpAddr::V6(v6) = ip {
        let segments = v6.segments();
        let v4 = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        };
        match segments {
            // IPv4-compatible, except :: and ::1; NAT64.
            [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => list.push(v4(high, low)),
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => list.push(v4(high, low)),
            [0x64, 0xff9b, 1, _, _, _, high, low] => list.push(v4(high, low)),
            // 6to4.
            [0x2002, high, low, ..] => list.push(v4(high, low)),
            _ => {}
        }
    }
    list
}

fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            // 0/8 is this host, 240/4 is reserved and ends with broadcast.
            first == 0 || first >= 240 || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()
        }
    }
}

/// An address or a CIDR block.
pub(super) fn block(text: &str) -> Result<IpNet, String> {
    let block = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    block.map(|block| block.trunc()).ok_or_else(|| "it is neither an address nor a CIDR block".to_owned())
}

/// A source's URL. Errors name no part of it.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "it is no URL".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("it must be http or https with a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it must have neither user information nor a fragment".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn reach(ip: &str, allow: &[&str]) -> bool {
        let allow: Vec<IpNet> = allow.iter().map(|text| block(text).unwrap()).collect();
        let server: SocketAddr = "10.96.0.1:443".parse().unwrap();
        may_reach(SocketAddr::new(ip.parse().unwrap(), 443), &[server], &allow)
    }

    #[rstest]
    #[case("127.0.0.1", "127.0.0.0/8")]
    #[case("127.9.9.9", "127.0.0.0/8")]
    #[case("::1", "::1")]
    #[case("::ffff:127.0.0.1", "127.0.0.0/8")]
    #[case("0.0.0.0", "0.0.0.0")]
    #[case("0.1.2.3", "0.0.0.0/8")]
    #[case("::", "::")]
    #[case("169.254.1.1", "169.254.0.0/16")]
    #[case("::ffff:169.254.1.1", "169.254.0.0/16")]
    #[case("fe80::1", "fe80::/10")]
    #[case("224.0.0.1", "224.0.0.0/4")]
    #[case("ff02::1", "ff00::/8")]
    #[case("255.255.255.255", "255.255.255.255")]
    #[case("240.0.0.1", "240.0.0.0/4")]
    fn special_addresses_need_an_admins_permission(#[case] ip: &str, #[case] allow: &str) {
        assert!(!reach(ip, &[]));
        assert!(!reach(ip, &["10.0.0.0/8"]));
        assert!(reach(ip, &[allow]));
    }

    #[rstest]
    #[case("169.254.169.254", "169.254.0.0/16", "169.254.169.254")]
    #[case("::ffff:169.254.169.254", "0.0.0.0/0", "169.254.169.254/32")]
    #[case("fd00:ec2::254", "::/0", "fd00:ec2::254")]
    #[case("100.100.100.200", "100.64.0.0/10", "100.100.100.200")]
    #[case("10.96.0.1", "10.0.0.0/8", "10.96.0.1")]
    #[case("::ffff:10.96.0.1", "10.0.0.0/8", "10.96.0.1/32")]
    fn metadata_and_the_api_server_need_an_entry_of_their_own(
        #[case] ip: &str,
        #[case] block: &str,
        #[case] exactly: &str,
    ) {
        assert!(!reach(ip, &[]));
        assert!(!reach(ip, &[block]));
        assert!(reach(ip, &[exactly]));
    }

    #[rstest]
    #[case("64:ff9b::7f00:1")]
    #[case("64:ff9b::a9fe:a9fe")]
    #[case("64:ff9b:1::a9fe:a9fe")]
    #[case("2002:a9fe:a9fe::1")]
    #[case("::7f00:1")]
    fn an_address_that_is_translated_on_the_way_counts_as_what_it_becomes(#[case] ip: &str) {
        assert!(!reach(ip, &[]));
    }

    #[rstest]
    #[case("10.0.0.5")]
    #[case("192.168.1.1")]
    #[case("93.184.216.34")]
    #[case("fd00::1")]
    #[case("2606:4700::1111")]
    #[case("64:ff9b::a00:5")]
    fn others_are_reached(#[case] ip: &str) {
        assert!(reach(ip, &[]));
    }

    #[test]
    fn another_port_of_the_api_servers_address_is_another_server() {
        let server: SocketAddr = "10.96.0.1:443".parse().unwrap();
        assert!(may_reach("10.96.0.1:9090".parse().unwrap(), &[server], &[]));
        assert!(!may_reach("10.96.0.1:443".parse().unwrap(), &[server], &[]));
    }

    #[rstest]
    #[case("http://user@example.test/")]
    #[case("http://user:secret@example.test/")]
    #[case("ftp://example.test/")]
    #[case("file:///etc/passwd")]
    #[case("example.test")]
    #[case("http://example.test/#x")]
    fn urls_that_are_refused(#[case] text: &str) {
        let error = url(text).unwrap_err();
        assert!(!error.contains("secret") && !error.contains("example"), "{error}");
    }
}
