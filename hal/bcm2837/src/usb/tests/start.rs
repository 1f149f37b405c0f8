//! The controller comes up, or says why not.

use embassy_usb_driver::Speed;

use super::super::StartError;
use super::*;
use crate::Bus;

#[test]
fn a_controller_that_never_becomes_idle_is_reported() {
    let bench = Bench::new(Kind::Silicon);
    bench.model(|model| model.never_idle = true);
    let result = bench.run(Controller::start(bench.host));
    assert_eq!(result.map(drop), Err(StartError::ResetTimeout));
}

#[test]
fn a_started_controller_has_power_on_its_port() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        let bench = Bench::new(kind);
        bench.run(Controller::start(bench.host)).unwrap();
        assert!(bench.model(|model| model.powered()));
        assert_eq!(bench.host.kind(), kind);
    }
}

#[test]
fn starting_again_brings_the_device_back() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    let pipe = controller.bulk_out(512);
    bench.run(async {
        let mut again = Controller::start(bench.host).await.unwrap();
        let event = again.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(Speed::High));
    });
    drop(pipe);
}

/// Something else at the address.
struct Nothing(u32);

impl Bus for Nothing {
    fn read(&self, _: usize) -> u32 {
        self.0
    }
    fn write(&self, _: usize, _: u32) {}
    fn barrier(&self) {}
}

#[test]
fn what_is_not_a_dwc2_is_not_touched() {
    let buffers =
        || std::array::from_fn(|_| crate::dma::Buffer::fake(vec![0; 1024].leak(), 0xC000_0000));
    let host = super::super::Host::new(Nothing(0), buffers());
    let error = host.map(drop).unwrap_err();
    assert_eq!(error, StartError::NotDwc2(0));
    assert!(error.to_string().contains("powered"), "{error}");
    assert!(super::super::Host::new(Nothing(0x4F54_280A), buffers()).is_ok());
}

#[test]
fn buffers_must_hold_a_packet_and_be_aligned() {
    for (len, bus) in [(1023, 0xC000_0000), (2048, 0xC000_0002)] {
        let buffers = std::array::from_fn(|_| crate::dma::Buffer::fake(vec![0; len].leak(), bus));
        let error = super::super::Host::new(Nothing(0x4F54_280A), buffers)
            .map(drop)
            .unwrap_err();
        assert_eq!(error, StartError::BadBuffer { len, bus });
    }
}
