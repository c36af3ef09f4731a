-- Which connections may have changed their state since the keeper last looked: whatever a state follows from leaves its
-- place here. In memory, for this connection to the database alone; after a restart the keeper looks at everything.

CREATE TEMP TABLE touched (
    host      TEXT NOT NULL,
    interface TEXT NOT NULL,
    peer      TEXT NOT NULL
);

CREATE TEMP TRIGGER touched_by_deposit AFTER INSERT ON generations BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM places WHERE id = NEW.place;
END;

CREATE TEMP TRIGGER touched_by_generation AFTER UPDATE ON generations BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM places WHERE id = NEW.place;
END;

CREATE TEMP TRIGGER touched_by_order AFTER UPDATE ON places
WHEN NEW.ordered IS NOT OLD.ordered OR NEW.kept_locked IS NOT OLD.kept_locked BEGIN
    INSERT INTO touched VALUES (NEW.host, NEW.interface, NEW.peer);
END;

-- further handshakes prove nothing new
CREATE TEMP TRIGGER touched_by_handshake AFTER INSERT ON handshakes
WHEN NOT EXISTS (SELECT 1 FROM states WHERE host = NEW.host AND interface = NEW.interface AND peer = NEW.peer
    AND state IN ('OK', 'Match') AND NEW.with_this_key) BEGIN
    INSERT INTO touched VALUES (NEW.host, NEW.interface, NEW.peer);
END;

CREATE TEMP TRIGGER touched_by_root AFTER INSERT ON opened_by_root BEGIN
    INSERT INTO touched VALUES (NEW.host, NEW.interface, NEW.peer);
END;

CREATE TEMP TRIGGER touched_by_root_no_more AFTER DELETE ON opened_by_root BEGIN
    INSERT INTO touched VALUES (OLD.host, OLD.interface, OLD.peer);
END;

CREATE TEMP TRIGGER touched_by_grant AFTER INSERT ON grants BEGIN
    INSERT INTO touched VALUES (NEW.host, NEW.interface, NEW.peer);
END;

CREATE TEMP TRIGGER touched_by_changed_grant AFTER UPDATE ON grants BEGIN
    INSERT INTO touched VALUES (NEW.host, NEW.interface, NEW.peer);
END;

CREATE TEMP TRIGGER touched_by_grant_no_more AFTER DELETE ON grants BEGIN
    INSERT INTO touched VALUES (OLD.host, OLD.interface, OLD.peer);
END;

CREATE TEMP TRIGGER touched_by_device AFTER INSERT ON devices BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM states WHERE peer = NEW.public_key;
END;

CREATE TEMP TRIGGER touched_by_device_no_more AFTER DELETE ON devices BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM states WHERE peer = OLD.public_key;
END;

CREATE TEMP TRIGGER touched_by_interface AFTER INSERT ON interfaces BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM states WHERE peer = NEW.public_key;
    INSERT INTO touched SELECT NEW.host, NEW.name, value ->> 'public_key' FROM json_each(NEW.peers);
END;

CREATE TEMP TRIGGER touched_by_interface_no_more AFTER DELETE ON interfaces BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM states WHERE peer = OLD.public_key;
    INSERT INTO touched SELECT host, interface, peer FROM states
        WHERE host = OLD.host AND interface = OLD.name;
END;

CREATE TEMP TRIGGER touched_by_peers AFTER UPDATE OF peers ON interfaces WHEN NEW.peers <> OLD.peers BEGIN
    INSERT INTO touched SELECT NEW.host, NEW.name, value ->> 'public_key' FROM (
        SELECT value FROM json_each(NEW.peers) EXCEPT SELECT value FROM json_each(OLD.peers));
    INSERT INTO touched SELECT NEW.host, NEW.name, value ->> 'public_key' FROM (
        SELECT value FROM json_each(OLD.peers) EXCEPT SELECT value FROM json_each(NEW.peers));
END;

-- with each report that says something new an interface is absent for a moment: only one that stays so counts
CREATE TEMP TRIGGER touched_by_coming_back AFTER UPDATE OF present ON interfaces
WHEN NEW.present AND NOT OLD.present
    AND NOT EXISTS (SELECT 1 FROM states WHERE host = NEW.host AND interface = NEW.name) BEGIN
    INSERT INTO touched SELECT NEW.host, NEW.name, value ->> 'public_key' FROM json_each(NEW.peers);
END;

CREATE TEMP TRIGGER touched_by_report AFTER UPDATE OF report_digest ON hosts BEGIN
    INSERT INTO touched SELECT states.host, interface, peer FROM states JOIN interfaces
        ON interfaces.host = states.host AND interfaces.name = interface
        WHERE states.host = NEW.name AND NOT present;
    INSERT INTO touched SELECT states.host, interface, peer FROM interfaces JOIN states
        ON peer = interfaces.public_key WHERE interfaces.host = NEW.name AND NOT present;
END;

CREATE TEMP TRIGGER touched_by_standing_down AFTER UPDATE OF stood_down ON hosts
WHEN NEW.stood_down <> OLD.stood_down BEGIN
    INSERT INTO touched SELECT host, interface, peer FROM states WHERE host = NEW.name;
    INSERT INTO touched SELECT host, interface, peer FROM states
        WHERE peer IN (SELECT public_key FROM interfaces WHERE interfaces.host = NEW.name);
END;

-- How many lines of each event were written since the start.
CREATE TEMP TABLE counted (event TEXT PRIMARY KEY, lines INTEGER NOT NULL);

CREATE TEMP TRIGGER counted_by_line AFTER INSERT ON log BEGIN
    INSERT INTO counted VALUES (NEW.event, 1) ON CONFLICT (event) DO UPDATE SET lines = lines + 1;
END;
