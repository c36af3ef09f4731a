"""What NetworkManager's own library reads in key files, for the tests. Nothing is started and nothing is changed.

usage: networkmanager.py FILE...

For each file a line `file`, then its interface, its settings, and its peers with all that is said of them, fields parted by tabs;
or a line `refused`.
"""

import sys

import gi

gi.require_version("NM", "1.0")
from gi.repository import GLib, NM  # noqa: E402


def read(path):
    key_file = GLib.KeyFile()
    key_file.load_from_file(path, GLib.KeyFileFlags.NONE)
    connection = NM.keyfile_read(key_file, "/nowhere", NM.KeyfileHandlerFlags.NONE, None, None)
    connection.normalize()
    everything = connection.to_dbus(NM.ConnectionSerializationFlags.ALL).unpack()
    peers = everything["wireguard"].pop("peers", [])
    yield "interface", connection.get_interface_name()
    for name, setting in sorted(everything.items()):
        yield "setting", name, sorted(setting.items())
    for peer in peers:
        rest = sorted((key, value) for key, value in peer.items() if not key.startswith("preshared") and key != "public-key")
        yield "peer", peer["public-key"], peer.get("preshared-key", ""), peer.get("preshared-key-flags", 4), rest


for path in sys.argv[1:]:
    print("file", flush=True)
    try:
        for fields in read(path):
            print(*fields, sep="\t")
    except GLib.Error as error:
        print("refused", error.domain, sep="\t")
