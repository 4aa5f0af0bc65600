"""A small TURN client, written from the RFCs apart from the C code: so that a mistake in one is
not repeated in the other."""
import hashlib
import hmac
import ipaddress
import os
import socket
import struct
import zlib

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, PERMISSION, CHANNEL = 1, 3, 4, 8, 9
CONNECT, CONNECTION_BIND, CONNECTION_ATTEMPT = 10, 11, 12
USERNAME, INTEGRITY, ERROR, LIFETIME, PEER, REALM, NONCE = 6, 8, 9, 0xD, 0x12, 0x14, 0x15
RELAYED, TRANSPORT, CONNECTION_ID, FINGERPRINT = 0x16, 0x19, 0x2A, 0x8028
TCP, UDP = 6, 17
TIMEOUT_S = 20


def attr(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def xor_addr(host, port, tid):
    ip = ipaddress.ip_address(host)
    mask = struct.pack(">I", COOKIE) + tid
    body = bytes(a ^ b for a, b in zip(ip.packed, mask))
    return struct.pack(">BBH", 0, 1 if ip.version == 4 else 2, port ^ COOKIE >> 16) + body


def read_addr(value, tid):
    mask = struct.pack(">I", COOKIE) + tid
    ip = ipaddress.ip_address(bytes(a ^ b for a, b in zip(value[4:], mask)))
    return str(ip), struct.unpack(">H", value[2:4])[0] ^ COOKIE >> 16


class Message:
    def __init__(self, raw):
        kind, _, cookie = struct.unpack(">HHI", raw[:8])
        assert cookie == COOKIE
        self.cls = (kind >> 4 & 1) | (kind >> 7 & 2)
        self.method = (kind & 15) | (kind >> 1 & 0x70) | (kind >> 2 & 0xF80)
        self.tid, self.attrs, at, self.raw = raw[8:20], {}, 20, raw
        while at < len(raw):
            code, n = struct.unpack(">HH", raw[at:at + 4])
            self.attrs[code] = raw[at + 4:at + 4 + n]
            if code == INTEGRITY:
                self.integrity_at = at
            at += 4 + n + -n % 4
        assert self.attrs[FINGERPRINT] == struct.pack(">I", zlib.crc32(raw[:-8]) ^ 0x5354554E)

    @property
    def code(self):
        e = self.attrs.get(ERROR)
        return e[2] % 8 * 100 + e[3] if e else 0

    def signed_by(self, key):
        head = bytearray(self.raw[:self.integrity_at])
        head[2:4] = struct.pack(">H", self.integrity_at + 24 - 20)
        return hmac.new(key, head, "sha1").digest() == self.attrs[INTEGRITY]


class Turn:
    """One TCP connection to the server, inside TLS if there is a context for it; `first` goes
    before all that."""

    def __init__(self, server, user="turn", password="secret", nonce=None, realm=b"TANDBERG",
                 tls=None, first=b"", name=None):
        self.s = socket.create_connection(server, TIMEOUT_S)
        self.s.sendall(first)
        if tls:
            self.s = tls.wrap_socket(self.s, server_hostname=name or server[0])
        self.user, self.realm, self.nonce = user.encode(), realm, nonce
        self.key = hashlib.md5(self.user + b":" + realm + b":" + password.encode()).digest()

    def send(self, method, attrs, signed=True):
        tid = os.urandom(12)
        body = b"".join(attr(k, v(tid) if callable(v) else v) for k, v in attrs)
        if signed:
            body = (attr(USERNAME, self.user) + attr(REALM, self.realm) + attr(NONCE, self.nonce) +
                    body)
            head = struct.pack(">HHI", method, len(body) + 24, COOKIE) + tid
            body += attr(INTEGRITY, hmac.new(self.key, head + body, "sha1").digest())
        head = struct.pack(">HHI", method, len(body) + 8, COOKIE) + tid
        crc = zlib.crc32(head + body) ^ 0x5354554E
        self.s.sendall(head + body + attr(FINGERPRINT, struct.pack(">I", crc)))
        return tid

    def exactly(self, n):
        got = b""
        while len(got) < n:
            more = self.s.recv(n - len(got))
            assert more, f"the stream ended after {len(got)} of {n} bytes"
            got += more
        return got

    def recv(self):
        """One message, and not a byte more."""
        head = self.exactly(20)
        return Message(head + self.exactly(struct.unpack(">H", head[2:4])[0]))

    def ask(self, method, *attrs, signed=True):
        tid = self.send(method, attrs, signed)
        answer = self.recv()
        assert (answer.tid, answer.method) == (tid, method)
        return answer

    def allocate(self, transport=TCP):
        """The relayed address."""
        want = (TRANSPORT, bytes([transport, 0, 0, 0]))
        first = self.ask(ALLOCATE, want, signed=False)
        assert first.code == 401
        self.realm, self.nonce = first.attrs[REALM], first.attrs[NONCE]
        answer = self.ask(ALLOCATE, want)
        assert answer.code == 0 and answer.signed_by(self.key)
        return read_addr(answer.attrs[RELAYED], answer.tid)

    def permit(self, host):
        return self.ask(PERMISSION, (PEER, lambda tid: xor_addr(host, 0, tid))).code

    def connect_to(self, host, port):
        return self.ask(CONNECT, (PEER, lambda tid: xor_addr(host, port, tid)))

    def close(self):
        self.s.close()
