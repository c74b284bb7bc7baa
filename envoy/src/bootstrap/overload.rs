//! What Envoy does when connections run short.
//!
//! Beyond the limit a new connection is closed at once. Clients that open connections and say
//! nothing would keep all others out in this way, so the time that an idle connection has shrinks
//! as connections become scarce: from an hour to seconds.

use crate::connections::{SATURATED_PERCENT, SCARCE_PERCENT};
use serde_json::{Value, json};

/// How long a connection may be idle, or a handshake take, when nearly all connections are in use.
const SHORTEST_IDLE_TIME: &str = "2s";

/// More than any heap has.
const MEASURED_HEAP: u64 = 1 << 50;

const CONNECTIONS: &str = "envoy.resource_monitors.global_downstream_max_connections";

pub(super) fn manager(max_connections: u32) -> Value {
    json!({
        "refresh_interval": "0.5s",
        "resource_monitors": [
            {
                "name": CONNECTIONS,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": max_connections,
                },
            },
            // Envoy 1.40 evaluates the monitors only where one of them is measured periodically,
            // which that of the connections is not. This one triggers nothing.
            {
                "name": "envoy.resource_monitors.fixed_heap",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": MEASURED_HEAP,
                },
            },
        ],
        "actions": [{
            "name": "envoy.overload_actions.reduce_timeouts",
            "triggers": [{"name": CONNECTIONS, "scaled": {
                "scaling_threshold": f64::from(SCARCE_PERCENT) / 100.0,
                "saturation_threshold": f64::from(SATURATED_PERCENT) / 100.0,
            }}],
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
                "timer_scale_factors": [
                    {"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": SHORTEST_IDLE_TIME},
                    {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": SHORTEST_IDLE_TIME},
                ],
            },
        }],
    })
}
