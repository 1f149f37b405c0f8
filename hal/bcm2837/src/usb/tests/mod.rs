//! The driver on the fake controller, with devices that make trouble.

mod bulk;
mod control;
mod dropped;
mod enumeration;
mod interrupt;
mod port;
mod start;

use embassy_usb_driver::host::{
    DeviceEvent, HostError, SplitInfo, UsbHostAllocator, UsbHostController, pipe,
};
use embassy_usb_driver::{EndpointAddress, EndpointInfo, EndpointType, Speed};

use super::fake::device::Device;
use super::fake::{Bench, FakeBus};
use super::{Controller, Kind, Pipe};

type Started = Controller<'static, FakeBus>;
type BulkIn = Pipe<'static, FakeBus, pipe::Bulk, pipe::In>;
type BulkOut = Pipe<'static, FakeBus, pipe::Bulk, pipe::Out>;
type InterruptIn = Pipe<'static, FakeBus, pipe::Interrupt, pipe::In>;
type InterruptOut = Pipe<'static, FakeBus, pipe::Interrupt, pipe::Out>;
type Control = Pipe<'static, FakeBus, pipe::Control, pipe::InOut>;

/// The address that a device has in tests that do not enumerate it.
const ADDRESS: u8 = 5;

/// A running controller with `device` at its root port, addressed.
fn connected(kind: Kind, device: Device) -> (Bench, Started) {
    let bench = Bench::new(kind);
    let speed = device.speed;
    bench.model(|model| model.plug(device));
    let controller = bench.run(async {
        let mut controller = Controller::start(bench.host).await.unwrap();
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(speed));
        controller
    });
    bench.device(|device| device.address = ADDRESS);
    (bench, controller)
}

/// A full-speed or low-speed device at port 2 of a high-speed hub.
fn translated(device: Device) -> (Bench, Started) {
    let (bench, controller) = connected(Kind::Silicon, Device::hub(Speed::High, 2));
    bench.device(|hub| {
        hub.address = 1;
        hub.plug(1, device);
        hub.ports()[1].enabled = true;
    });
    bench.model(|model| model.child(1).address = ADDRESS);
    (bench, controller)
}

fn info(address: u8, kind: EndpointType, max_packet_size: u16) -> EndpointInfo {
    EndpointInfo {
        addr: EndpointAddress::from(address),
        ep_type: kind,
        max_packet_size,
        interval_ms: 4,
    }
}

impl Started {
    fn bulk_in(&self, max_packet: u16) -> Result<BulkIn, HostError> {
        let info = info(0x81, EndpointType::Bulk, max_packet);
        self.allocator().alloc_pipe(ADDRESS, &info, None)
    }

    fn bulk_out(&self, max_packet: u16) -> BulkOut {
        let info = info(0x02, EndpointType::Bulk, max_packet);
        self.allocator().alloc_pipe(ADDRESS, &info, None).unwrap()
    }

    fn interrupt_in(&self, split: Option<SplitInfo>) -> InterruptIn {
        let info = info(0x83, EndpointType::Interrupt, 8);
        self.allocator().alloc_pipe(ADDRESS, &info, split).unwrap()
    }

    fn interrupt_out(&self, split: Option<SplitInfo>) -> InterruptOut {
        let info = info(0x04, EndpointType::Interrupt, 8);
        self.allocator().alloc_pipe(ADDRESS, &info, split).unwrap()
    }

    fn control(&self, max_packet: u16, split: Option<SplitInfo>) -> Control {
        let info = info(0, EndpointType::Control, max_packet);
        self.allocator().alloc_pipe(ADDRESS, &info, split).unwrap()
    }
}

/// Bytes of which no two stretches look the same.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}
