//! `embassy-usb-host` on top of it: devices, hubs, devices behind hubs.

use embassy_time::Timer;
use embassy_usb_driver::host::{SplitSpeed, UsbPipe};
use embassy_usb_host::class::hub::{HubEvent, HubHandler};
use embassy_usb_host::handler::HandlerEvent;
use embassy_usb_host::{BusRoute, BusState};

use super::*;

#[test]
fn a_device_at_the_root_port_is_enumerated() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        for speed in [Speed::Low, Speed::Full, Speed::High] {
            let bench = Bench::new(kind);
            bench.model(|model| model.plug(Device::echo(speed)));
            bench.run(async {
                let controller = Controller::start(bench.host).await.unwrap();
                let state = BusState::new();
                let (mut bus, handle) = embassy_usb_host::bus(controller, &state);
                assert_eq!(bus.wait_for_connection().await, speed);
                let mut config = [0; 256];
                let route = BusRoute::Direct(speed);
                let (info, len) = handle.enumerate(route, &mut config).await.unwrap();
                assert_eq!(info.device_desc.vendor_id, 0x0525);
                assert_eq!(config[2], len as u8);
                assert_eq!(bench.device(|device| device.address), info.device_address);
            });
        }
    }
}

#[test]
fn devices_of_every_speed_work_behind_hubs_of_every_speed() {
    for (hub_speed, speed) in [
        (Speed::High, Speed::High),
        (Speed::High, Speed::Full),
        (Speed::High, Speed::Low),
        (Speed::Full, Speed::Full),
        (Speed::Full, Speed::Low),
    ] {
        let bench = Bench::new(Kind::Silicon);
        bench.model(|model| model.plug(Device::hub(hub_speed, 4)));
        bench.run(async {
            let controller = Controller::start(bench.host).await.unwrap();
            let state = BusState::new();
            let (mut bus, handle) = embassy_usb_host::bus(controller, &state);
            bus.wait_for_connection().await;
            let mut config = [0; 256];
            let route = BusRoute::Direct(hub_speed);
            let (info, _) = handle.enumerate(route, &mut config).await.unwrap();
            let mut hub = HubHandler::<_, 4>::try_register(&handle, &info)
                .await
                .unwrap();
            Timer::after_millis(50).await;
            bench.device(|hub| hub.plug(2, Device::echo(speed)));
            let event = hub.wait_for_event().await.unwrap();
            let HandlerEvent::HandlerEvent(HubEvent::DeviceDetected { port, speed: found }) = event
            else {
                panic!("{event:?}");
            };
            assert_eq!((port, found), (2, speed));
            let (info, _) = hub.enumerate_port(&mut config, port, found).await.unwrap();
            let translated = hub_speed == Speed::High && speed != Speed::High;
            if translated {
                let split = info.split().unwrap();
                assert_eq!((split.hub_addr(), split.port()), (1, 3));
                assert_eq!(split.device_speed() == SplitSpeed::Low, speed == Speed::Low);
            }
            if speed == Speed::Low {
                return;
            }
            // Bulk, there and back.
            let max = if speed == Speed::High { 512 } else { 64 };
            let address = info.device_address;
            let mut out = handle
                .alloc_pipe::<pipe::Bulk, pipe::Out>(
                    address,
                    &super::info(2, EndpointType::Bulk, max),
                    info.split(),
                )
                .unwrap();
            let mut input = handle
                .alloc_pipe::<pipe::Bulk, pipe::In>(
                    address,
                    &super::info(0x81, EndpointType::Bulk, max),
                    info.split(),
                )
                .unwrap();
            for len in [1, 64, 1514] {
                let message = pattern(len);
                out.request_out(&message, true).await.unwrap();
                let mut buf = [0; 2048];
                assert_eq!(input.request_in(&mut buf).await, Ok(len));
                assert_eq!(buf[..len], message);
            }
        });
        let counts = bench.host.counts();
        assert_eq!((counts.transaction_errors, counts.toggle_errors), (0, 0));
    }
}
