import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

import org.eclipse.californium.core.CoapClient;
import org.eclipse.californium.core.CoapResponse;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.exception.ConnectorException;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.pskstore.SinglePskStore;
import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.resource.BaseInstanceEnabler;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel.Type;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.request.argument.Arguments;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.response.WriteResponse;

/**
 * Firmware Update (object 5) for Leshan's client, which has the model of it and nothing that does it. What takes
 * the blocks of a push is Leshan's and Californium's, what fetches a Package URI is Californium's CoapClient, over
 * Scandium where the URI is coaps. A package is what starts with the magic number of MCUboot; its version is the
 * one that the header says, and what is installed tells it as 3/0/3.
 *
 *     PACKAGE size sha256    one has come whole, by push or pull
 *     INSTALL                /5/0/2 was executed
 */
public final class Firmware extends BaseInstanceEnabler {
    private static final int PACKAGE = 0;
    private static final int URI = 1;
    private static final int UPDATE = 2;
    private static final int STATE = 3;
    private static final int RESULT = 5;
    private static final int PROTOCOLS = 8;
    private static final int DELIVERY = 9;

    private static final int IDLE = 0;
    private static final int DOWNLOADING = 1;
    private static final int DOWNLOADED = 2;
    private static final int UPDATING = 3;

    private static final int INITIAL = 0;
    private static final int SUCCESS = 1;
    private static final int CONNECTION_LOST = 4;
    private static final int UNSUPPORTED_PACKAGE = 6;

    private static final int MAGIC = 0x96f3b83d;
    private static final int HEADER_BYTES = 32;
    private static final int VERSION_AT = 20;
    private static final long FETCH_TIMEOUT_MS = 60_000;

    private final int delivery;
    private final int maxBody;
    private final String identity;
    private final byte[] key;
    private String version;
    private int state = IDLE;
    private int result = INITIAL;
    private String uri = "";
    private String next = "";

    /** What Leshan's factory demands, for an object of one instance that is never created. */
    public Firmware() {
        this("", 0, 0, "", new byte[0]);
    }

    /** `delivery` is Resource 9, `maxBody` in bytes; identity and key are those for coaps. */
    Firmware(String version, int delivery, int maxBody, String identity, byte[] key) {
        this.version = version;
        this.delivery = delivery;
        this.maxBody = maxBody;
        this.identity = identity;
        this.key = key;
    }

    /** What runs, for 3/0/3. */
    synchronized String version() {
        return version;
    }

    @Override
    public synchronized ReadResponse read(LwM2mServer server, int resource) {
        return switch (resource) {
        case URI -> ReadResponse.success(URI, uri);
        case STATE -> ReadResponse.success(STATE, (long) state);
        case RESULT -> ReadResponse.success(RESULT, (long) result);
        case PROTOCOLS -> ReadResponse.success(PROTOCOLS, Map.of(0, 0L, 1, 1L), Type.INTEGER);
        case DELIVERY -> ReadResponse.success(DELIVERY, (long) delivery);
        default -> super.read(server, resource);
        };
    }

    @Override
    public WriteResponse write(LwM2mServer server, boolean replace, int resource, LwM2mResource value) {
        switch (resource) {
        case PACKAGE -> take((byte[]) value.getValue());
        case URI -> fetch((String) value.getValue());
        default -> {
            return super.write(server, replace, resource, value);
        }
        }
        return WriteResponse.success();
    }

    @Override
    public ExecuteResponse execute(LwM2mServer server, int resource, Arguments arguments) {
        if (resource != UPDATE) {
            return super.execute(server, resource, arguments);
        }
        synchronized (this) {
            if (state != DOWNLOADED) {
                return ExecuteResponse.methodNotAllowed();
            }
        }
        LeshanDevice.say("INSTALL");
        become(UPDATING, INITIAL);
        beside("install", this::reboot);
        return ExecuteResponse.success();
    }

    @Override
    public List<Integer> getAvailableResourceIds(ObjectModel model) {
        return List.of(PACKAGE, URI, UPDATE, STATE, RESULT, PROTOCOLS, DELIVERY);
    }

    private void take(byte[] content) {
        if (content.length <= 1) { // E.6: an empty package, or a single NUL, resets
            become(IDLE, INITIAL);
            return;
        }
        LeshanDevice.say("PACKAGE " + content.length + " " + sha256(content));
        ByteBuffer header = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
        if (content.length < HEADER_BYTES || header.getInt(0) != MAGIC) {
            become(IDLE, UNSUPPORTED_PACKAGE);
            return;
        }
        synchronized (this) {
            next = Byte.toUnsignedInt(header.get(VERSION_AT)) + "." + Byte.toUnsignedInt(header.get(VERSION_AT + 1)) + "."
                    + Short.toUnsignedInt(header.getShort(VERSION_AT + 2));
        }
        become(DOWNLOADED, INITIAL);
    }

    private void fetch(String wanted) {
        synchronized (this) {
            uri = wanted;
        }
        if (wanted.isEmpty()) {
            become(IDLE, INITIAL);
            return;
        }
        become(DOWNLOADING, INITIAL);
        beside("fetch", () -> {
            try {
                take(fetched(wanted));
            } catch (ConnectorException | IOException error) {
                LeshanDevice.say("FAILED fetch " + error);
                become(IDLE, CONNECTION_LOST);
            }
        });
    }

    /** As Zephyr does it: from a port of its own, over a session of its own. */
    private byte[] fetched(String wanted) throws ConnectorException, IOException {
        Configuration configuration = new Configuration(CoapConfig.DEFINITIONS, DtlsConfig.DEFINITIONS);
        configuration.set(CoapConfig.MAX_RESOURCE_BODY_SIZE, maxBody);
        CoapEndpoint.Builder endpoint = new CoapEndpoint.Builder().setConfiguration(configuration);
        InetSocketAddress here = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
        if (wanted.startsWith("coaps:")) {
            endpoint.setConnector(new DTLSConnector(DtlsConnectorConfig.builder(configuration).setAddress(here)
                    .setPskStore(new SinglePskStore(identity, key)).build()));
        } else {
            endpoint.setInetSocketAddress(here);
        }
        CoapClient client = new CoapClient(wanted).setEndpoint(endpoint.build()).setTimeout(FETCH_TIMEOUT_MS);
        try {
            CoapResponse response = client.get();
            if (response == null || !response.isSuccess()) {
                throw new IOException(response == null ? "no answer" : response.getCode().toString());
            }
            return response.getPayload();
        } finally {
            client.getEndpoint().destroy();
            client.shutdown();
        }
    }

    /** Without a word to the server, and back as what the package says. */
    private void reboot() {
        LeshanClient client = (LeshanClient) getLwM2mClient();
        try {
            client.stop(false);
        } catch (NullPointerException interrupted) {
            // Leshan's own, where a notification waits to be sent: that breaks off the stop, which goes on here.
            client.stop(false);
        }
        synchronized (this) {
            version = next;
            uri = "";
            state = IDLE;
            result = SUCCESS;
        }
        client.start();
    }

    private void become(int state, int result) {
        synchronized (this) {
            this.state = state;
            this.result = result;
        }
        fireResourcesChange(getResourcePaths(STATE, RESULT));
    }

    private static void beside(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
    }

    private static String sha256(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }
}
